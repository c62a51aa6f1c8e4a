package tail

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// headerTag begins the plain header: what it is, and the version of its format.
const headerTag = "BTLH"

// encode returns the header before it is sealed: the tag, the version, and two packed parts, so
// that a reader of many headers keeps the runs packed until it needs them.
func (h *Header) encode() []byte {
	var w writer
	w.text(string(h.Volume))
	w.uint(uint64(h.Epoch))
	w.digest(h.Open)
	w.uint(uint64(h.Parent.Epoch))
	w.uint(uint64(h.Parent.LSN))
	w.digest(h.Parent.Digest)
	w.digest(h.Prev)
	w.uint(uint64(h.Behind))
	w.uint(uint64(h.First))
	w.uint(uint64(len(h.Groups)))
	last := h.First - 1
	for _, g := range h.Groups {
		w.uint(uint64(g.Last - last))
		w.time(g.Time)
		w.uint(uint64(g.Size / ballast.BlockSize))
		last = g.Last
	}
	w.uint(uint64(len(h.Frames)))
	for _, f := range h.Frames {
		w.flagged(uint64(f.Length), f.Plain)
		w.digest(f.Sum)
	}
	facts := compress(w.b)
	plain := binary.LittleEndian.AppendUint32([]byte(headerTag), FormatVersion)
	plain = binary.LittleEndian.AppendUint32(plain, uint32(len(facts)))
	return append(append(plain, facts...), h.runs...)
}

// decodeHeader reads what encode returned, and nothing else.
func decodeHeader(plain []byte) (*Header, error) {
	const head = len(headerTag) + 8
	if len(plain) < head || string(plain[:len(headerTag)]) != headerTag {
		return nil, invalid("it is no header")
	}
	if v := binary.LittleEndian.Uint32(plain[len(headerTag):]); v != FormatVersion {
		return nil, &versionError{uint64(v)}
	}
	n := binary.LittleEndian.Uint32(plain[head-4:])
	if uint64(n) > uint64(len(plain)-head) {
		return nil, invalid("its parts have %d bytes; want %d", len(plain)-head, n)
	}
	facts, err := unpack(plain[head:head+int(n)], maxPlain)
	if err != nil {
		return nil, err
	}
	h := &Header{runs: plain[head+int(n):]}
	if err := h.decodeFacts(facts); err != nil {
		return nil, err
	}
	if _, h.blocks, err = unpackRuns(h.runs, h.Groups); err != nil {
		return nil, err
	}
	return h, h.check()
}

func (h *Header) decodeFacts(facts []byte) error {
	r := reader{b: facts}
	h.Volume = ballast.VolumeID(r.text())
	h.Epoch = ballast.Epoch(r.uint())
	h.Open = r.digest()
	h.Parent = Position{ballast.Epoch(r.uint()), ballast.LSN(r.uint()), r.digest()}
	h.Prev = r.digest()
	h.Behind = ballast.LSN(r.uint())
	h.First = ballast.LSN(r.uint())
	last := h.First - 1
	for range r.count(delta.MaxGroups) {
		g := Group{Last: last + ballast.LSN(r.uint()), Time: r.time(), Size: r.size()}
		if g.Last < last {
			return invalid("its LSNs have no end")
		}
		last = g.Last
		h.Groups = append(h.Groups, g)
	}
	h.Last = last
	for range r.count(delta.MaxData / frameBytes) {
		n, plain := r.flagged()
		if n > maxFrame {
			return invalid("a frame has %d bytes", n)
		}
		h.Frames = append(h.Frames, Frame{Length: int64(n), Plain: plain, Sum: r.digest()})
	}
	return r.end()
}

// packRuns returns the runs of all groups: each as the distance from the run before it, and its
// length with a mark for zeros.
func packRuns(groups []delta.Group) []byte {
	var w writer
	for _, g := range groups {
		w.uint(uint64(len(g.Runs)))
		next := ballast.Block(0)
		for _, r := range g.Runs {
			w.uint(uint64(r.First - next))
			w.flagged(r.Count, r.Zero)
			next = r.First + ballast.Block(r.Count)
		}
	}
	return compress(w.b)
}

// unpackRuns reads what packRuns returned, and how many blocks of data they have.
func unpackRuns(packed []byte, groups []Group) (runs [][]delta.Run, blocks uint64, err error) {
	plain, err := unpack(packed, maxPlain)
	if err != nil {
		return nil, 0, err
	}
	r := reader{b: plain}
	left := delta.MaxRuns
	for i, g := range groups {
		n := r.count(left)
		left -= n
		shape := delta.Group{Last: g.Last, Time: g.Time, Size: g.Size, Runs: r.runs(n)}
		if r.err != nil {
			return nil, 0, r.err
		}
		if err := shape.ValidateShape(); err != nil {
			return nil, 0, fmt.Errorf("group %d: %w", i, err)
		}
		runs, blocks = append(runs, shape.Runs), blocks+shape.DataBlocks()
	}
	if blocks > delta.MaxData/ballast.BlockSize {
		return nil, 0, invalid("%d blocks are more than it may have", blocks)
	}
	return runs, blocks, r.end()
}

func (r *reader) runs(n int) (runs []delta.Run) {
	next := ballast.Block(0)
	for range n {
		first := next + ballast.Block(r.uint())
		count, zero := r.flagged()
		runs = append(runs, delta.Run{First: first, Count: count, Zero: zero})
		next = first + ballast.Block(count) // an overflow makes runs that are out of order
	}
	return runs
}

// writer puts numbers one after another.
type writer struct{ b []byte }

func (w *writer) uint(n uint64)   { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) digest(d Digest) { w.b = append(w.b, d[:]...) }
func (w *writer) text(s string)   { w.uint(uint64(len(s))); w.b = append(w.b, s...) }

func (w *writer) flagged(n uint64, flag bool) {
	n <<= 1
	if flag {
		n |= 1
	}
	w.uint(n)
}

// time puts nanoseconds since 1970; 0 for no time.
func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.uint(0)
		return
	}
	w.uint(uint64(t.UnixNano()))
}

// reader takes what writer put. After its first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	if r.b = nil; r.err == nil {
		r.err = invalid("its numbers have no end, or too many")
	}
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

// count reads the length of a list that has at most so many.
func (r *reader) count(most int) int {
	n := r.uint()
	if n > uint64(most) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.take(r.uint())) }

func (r *reader) digest() (d Digest) {
	copy(d[:], r.take(uint64(len(d))))
	return d
}

func (r *reader) flagged() (uint64, bool) {
	n := r.uint()
	return n >> 1, n&1 != 0
}

func (r *reader) time() (t time.Time) {
	n := r.uint()
	if n > 1<<63-1 {
		r.fail()
		return t
	}
	if n == 0 {
		return t
	}
	return time.Unix(0, int64(n)).UTC()
}

func (r *reader) size() int64 {
	n := r.uint()
	if n > ballast.MaxVolumeSize/ballast.BlockSize {
		r.fail()
		return 0
	}
	return int64(n) * ballast.BlockSize
}

// end reports the first error, and what nobody has read.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		return invalid("%d bytes too many", len(r.b))
	}
	return r.err
}
