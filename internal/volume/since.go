package volume

import (
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// maxWalk bounds how much of the log one [Volume.Since] reads, in bytes.
const maxWalk = 256 << 20

// Since returns what the committed records after `after` made of the volume, up to
// about limit bytes of data and at least one record; nil when there are none.
// All are of one epoch, and every point among them ends a group. A group that
// ends elsewhere, as limit and the end of an epoch make it, is no point.
//
// The error is [ErrRecycled] when the log does not hold these records any more,
// and a [*CorruptError] when it should and they are damaged. Since never keeps
// a writer waiting; calls of it wait for each other.
func (v *Volume) Since(after ballast.LSN, limit int64) (*delta.Delta, error) {
	v.reading.Lock()
	defer v.reading.Unlock()
	into := &gather{limit: limit}
	// The archive is not told of what a later leader may cut.
	w, err := v.survey(after, v.settled, func(l *log) {
		into.volume, into.epoch, into.after, into.size = v.id, l.history.epochAt(after+1), after, v.size
		into.points = append([]point(nil), l.points.after(after)...)
	})
	if w == nil || err != nil {
		return nil, err
	}
	w.into = into
	w.begin(v.cursor)
	if err := w.run(); err != nil && w.next <= after+1 {
		return nil, fmt.Errorf("read log of volume %s after LSN %d: %w", v.id, after, err)
	}
	// What an error cut short is good up to there; the next call begins with it.
	v.cursor = w.place
	return into.delta(), nil
}

// walk is one reading of the log. Segments may be let go under it: what was
// read counts only when its segment was still there afterwards.
type walk struct {
	v       *Volume
	segs    []leased
	history Lineage
	after   ballast.LSN // what is up to here is passed over
	end     ballast.LSN // the last record to read
	size    int64       // of the volume, in bytes
	next    ballast.LSN // the record that comes next
	place   place
	window  window
	stop    position // nothing is written from here on
	read    int64    // bytes
	into    gatherer
}

// gatherer is told the records of a walk, in order.
type gatherer interface {
	add(h *batchHeader, r record, data []byte) // data is good until it returns
	full() bool                                // nothing more is wanted
}

// leased is a segment as it stood when the walk began.
type leased struct {
	segment
	live *segment // whose seq is another once it was let go; guarded by [Volume.mu]
}

// place is where a batch that begins with record next stands, or would stand.
type place struct {
	seq, off uint64
	next     ballast.LSN
}

// settled is the last record that no other leader can cut. The caller holds mu.
func (v *Volume) settled() ballast.LSN { return min(v.log.durable, v.committed) }

// onDisk is the last record that is durable here. The caller holds mu.
func (v *Volume) onDisk() ballast.LSN { return v.log.durable }

// survey prepares a walk up to what end says; nil when there is nothing to read. Else note is
// called while nothing changes. It calls end and note under mu.
func (v *Volume) survey(after ballast.LSN, end func() ballast.LSN, note func(*log)) (*walk, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	l := &v.log
	switch {
	case v.closed:
		return nil, ErrClosed
	case after > l.durable:
		return nil, fmt.Errorf("read log of volume %s after LSN %d: %w: it is durable up to %d", v.id, after, ballast.ErrInvalid, l.durable)
	case after >= end():
		return nil, nil
	}
	w := &walk{v: v, history: l.history, after: after, end: l.history.endOfReign(after+1, end()), size: v.size, stop: l.end()}
	for _, some := range [2][]*segment{l.held, l.used} {
		for _, s := range some {
			if s.first <= after+1 {
				w.segs = w.segs[:0]
			}
			w.segs = append(w.segs, leased{*s, s})
		}
	}
	if len(w.segs) == 0 || w.segs[0].first > after+1 {
		return nil, fmt.Errorf("read log of volume %s after LSN %d: %w", v.id, after, ErrRecycled)
	}
	note(l)
	return w, nil
}

// begin goes to where the last walk ended, if that is not too far.
func (w *walk) begin(cursor place) {
	first := w.segs[0]
	w.place = place{first.seq, 1, first.first}
	if cursor.seq == first.seq && cursor.next <= w.after+1 {
		w.place = cursor
	}
	w.next = w.place.next
}

func (w *walk) done() bool {
	return w.next > w.end || w.into.full() || w.read >= maxWalk && w.next > w.after+1
}

// run reads until it is done. An error says why it is not.
func (w *walk) run() error {
	for i := range w.segs {
		s := &w.segs[i]
		if s.seq != w.place.seq {
			w.place = place{s.seq, 1, w.next}
		}
		if err := w.readSegment(s); err != nil || w.done() {
			return err
		}
		if i+1 == len(w.segs) || w.segs[i+1].first != w.next {
			return w.lost(s)
		}
	}
	return nil
}

// readSegment reads the batches of a segment from place on. It follows the same
// rules as [recovery.readSegment].
func (w *walk) readSegment(s *leased) error {
	for !w.done() && w.place.off < s.blocks {
		block, err := w.blocks(s, w.place.off, 1)
		if err != nil {
			return err
		}
		h, ok := decodeBatchHeader(block, w.v.log.salt, s.at(w.place.off))
		if !ok || h.first != w.next || w.place.off+h.blocks() > s.blocks {
			return nil
		}
		if whole, err := w.readBatch(s, h); err != nil || !whole {
			return err
		}
		w.place = place{s.seq, w.place.off + h.blocks(), w.next}
	}
	return nil
}

// readBatch takes the records of a batch, up to one that a later epoch cut off
// or that the walk ends with.
func (w *walk) readBatch(s *leased, h *batchHeader) (whole bool, err error) {
	for _, r := range h.records {
		if w.history.epochAt(r.lsn) != h.epoch {
			return w.next > h.first, nil
		}
		if r.lsn > w.after {
			if w.done() {
				return false, nil
			}
			if err := w.take(s, h, r); err != nil {
				return false, err
			}
		}
		w.next = r.lsn + 1
	}
	return true, nil
}

func (w *walk) take(s *leased, h *batchHeader, r record) error {
	data, err := w.blocks(s, uint64(r.pos)%s.blocks, r.dataBlocks())
	if err != nil {
		return err
	}
	if !covers(w.size, r) || r.crc != dataSum(data) {
		return w.lost(s)
	}
	w.into.add(h, r, data)
	return nil
}

// blocks returns n blocks of a segment from off on, good until the next call.
func (w *walk) blocks(s *leased, off, n uint64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if p := w.window.find(s.seq, off, n); p != nil {
		return p, nil
	}
	read, err := w.window.load(&s.segment, off, max(n, w.written(s, off)))
	w.read += read
	if !w.v.isLive(s) {
		return nil, ErrRecycled
	}
	if err != nil {
		return nil, err
	}
	return w.window.find(s.seq, off, n), nil
}

// written is how many blocks of a segment from off on there can be to read.
func (w *walk) written(s *leased, off uint64) uint64 {
	if at := s.at(off); w.stop > at && w.stop < s.at(s.blocks) {
		return uint64(w.stop - at)
	}
	return s.blocks - off
}

func (v *Volume) isLive(s *leased) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return s.live.seq == s.seq
}

// lost says that a segment does not hold the record that comes next. One that
// only the archive needs is let go; else it is damage (V7).
func (w *walk) lost(s *leased) error {
	damage := &CorruptError{
		File:   s.name,
		Offset: int64(w.place.off) * blockSize,
		Reason: fmt.Sprintf("record %d was durable and cannot be read", w.next),
	}
	w.v.mu.Lock()
	defer w.v.mu.Unlock()
	l := &w.v.log
	switch {
	case s.live.seq != s.seq:
		return ErrRecycled
	case s.seq >= l.used[0].seq:
		return damage
	}
	for len(l.held) > 0 && l.held[0].seq <= s.seq {
		l.recycle()
	}
	w.v.opts.Log.Warn("log kept for the archive is not whole, and is let go", "volume", w.v.id, "error", damage)
	return errors.Join(ErrRecycled, damage)
}

// window is the part of a segment that is in memory.
type window struct {
	seq, off uint64
	data     []byte
}

func (w *window) find(seq, off, n uint64) []byte {
	if w.seq != seq || off < w.off || (off-w.off+n)*blockSize > uint64(len(w.data)) {
		return nil
	}
	return w.data[(off-w.off)*blockSize:][:n*blockSize]
}

// load reads up to limit blocks from off on, as many as there is room for.
func (w *window) load(s *segment, off, limit uint64) (read int64, err error) {
	n := min(limit, maxBatchBlocks, s.blocks-off) * blockSize
	if uint64(cap(w.data)) < n {
		w.data = make([]byte, n)
	}
	w.data = w.data[:n]
	w.seq, w.off = s.seq, off
	if err := s.readBlocks(w.data, s.at(off)); err != nil {
		w.seq = 0
		return 0, err
	}
	return int64(len(w.data)), nil
}
