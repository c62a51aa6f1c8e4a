package stream

import (
	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

// ring holds the newest batches as frames, ready to be sent, until every stream has
// them or there is no room (S2). Its memory is used from the beginning each time it was empty,
// so that a quiet volume touches little of it.
type ring struct {
	buf    []byte
	frames []slot // oldest first; each follows the one before
}

// slot is a frame's place.
type slot struct {
	first, last ballast.LSN
	off, n      int
}

func (r *ring) bytes(s slot) []byte { return r.buf[s.off : s.off+s.n] }

// push adds a batch. What does not follow the newest frame replaces them all; where there
// is no room the oldest go.
func (r *ring) push(b volume.Batch) slot {
	n := wire.FrameSize(len(b.Records), len(b.Data))
	if len(r.frames) > 0 && r.frames[len(r.frames)-1].last+1 != b.First {
		r.frames = nil
	}
	if r.buf == nil {
		r.buf = make([]byte, RingSize)
	}
	s := slot{first: b.First, last: b.Last(), n: n}
	for !r.place(&s) {
		r.frames = r.frames[1:]
	}
	wire.Encode(r.buf[s.off:s.off:s.off+n], &wire.Append{Batch: b})
	r.frames = append(r.frames, s)
	return s
}

// place finds room for a frame behind the newest, and reports false when there is none.
func (r *ring) place(s *slot) bool {
	if len(r.frames) == 0 {
		s.off = 0
		return true
	}
	head, newest := r.frames[0].off, r.frames[len(r.frames)-1]
	tail := newest.off + newest.n
	switch {
	case tail > head && s.n <= len(r.buf)-tail, tail <= head && s.n <= head-tail:
		s.off = tail
	case tail > head && s.n <= head:
		s.off = 0
	default:
		return false
	}
	return true
}

// after returns the frames that follow record lsn, false when the ring cannot tell: the
// next record is not the first of a frame here.
func (r *ring) after(lsn ballast.LSN) ([]slot, bool) {
	for i, s := range r.frames {
		if s.first == lsn+1 {
			return r.frames[i:], true
		}
	}
	return nil, len(r.frames) > 0 && r.frames[len(r.frames)-1].last == lsn
}

// forget lets go of the frames up to record lsn.
func (r *ring) forget(lsn ballast.LSN) {
	for len(r.frames) > 0 && r.frames[0].last <= lsn {
		r.frames = r.frames[1:]
	}
	if len(r.frames) == 0 {
		r.frames = nil
	}
}

// release gives the memory back.
func (r *ring) release() { *r = ring{} }
