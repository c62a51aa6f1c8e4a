package volume

import (
	"errors"
	"sort"

	"github.com/ballast-io/ballast"
)

// ErrRecycled reports that records are no longer in the log that the archive
// has not read: only a base snapshot can tell what they did.
var ErrRecycled = errors.New("the log no longer holds these records")

// maxReigns bounds how many epochs the descriptor lists for the sake of
// segments that are held.
const maxReigns = 1024

// mostSpared bounds in bytes what the log keeps beyond its queue for readers that are spared.
const mostSpared = 64 << 30

// ArchiveReader is the name of the archive among those who read the log. It is one of them
// from the opening on, and has read nothing until it says so.
const ArchiveReader = "archive"

// queue is the part of the log that only its readers still need: segments that are
// applied, and not read by each of them. Nobody waits for it: what there is no room
// for goes, the oldest first. It is guarded by [Volume.mu].
type queue struct {
	held     []*segment             // in the order of the log; before those that apply needs
	capacity int64                  // bytes
	spared   map[string]bool        // readers for whom it keeps more, see Spare
	more     int64                  // bytes beyond capacity for their sake
	readers  map[string]ballast.LSN // what each of them has read; others read nothing that is held
	archived ballast.LSN
	done     position // where the log ended at the newest flush that is archived
	points   points
}

func newQueue(capacity int64) queue {
	return queue{capacity: capacity, readers: map[string]ballast.LSN{ArchiveReader: 0}, spared: map[string]bool{}}
}

// hold puts a segment that apply has done with at the queue's end.
func (l *log) hold(s *segment) {
	l.held = append(l.held, s)
	l.trim()
}

// trim lets go of what everybody has read, and of what there is no room for (V4).
func (l *log) trim() {
	read := l.readByAll()
	for len(l.held) > 0 && (l.queueBytes() > l.capacity+l.more || l.endOfHeld() <= read) {
		l.recycle()
	}
}

// readByAll is the last record that every reader has read.
func (l *log) readByAll() ballast.LSN {
	all := ^ballast.LSN(0)
	for _, read := range l.readers {
		all = min(all, read)
	}
	return all
}

// recycle makes the oldest segment of the queue ready for use.
func (l *log) recycle() {
	s := l.held[0]
	l.held = l.held[1:]
	s.seq = 0
	l.free = append(l.free, s)
}

// endOfHeld is the last record of the queue's oldest segment.
func (l *log) endOfHeld() ballast.LSN {
	if len(l.held) > 1 {
		return l.held[1].first - 1
	}
	return l.used[0].first - 1
}

// recycled is the last record that the log no longer holds.
func (l *log) recycled() ballast.LSN {
	for _, some := range [2][]*segment{l.held, l.used} {
		if len(some) > 0 {
			return some[0].first - 1
		}
	}
	return l.durable
}

func (l *log) queueBytes() (n int64) {
	for _, s := range l.held {
		n += int64(s.blocks) * blockSize
	}
	return n
}

// heldBefore returns those of segs, in order, that held the log before the
// segment from: what an earlier opening kept, or let go and did not use anew.
// Only a read can tell whether they hold all they should; see [walk].
func heldBefore(from *segment, segs []*segment, h Lineage) []*segment {
	var held []*segment
	for _, s := range inOrder(segs) {
		if s.seq >= from.seq {
			break
		}
		if h.epochAt(s.first) == 0 {
			continue // nothing says any more which of its records are void
		}
		if n := len(held); n > 0 && held[n-1].first >= s.first {
			held = held[:0]
		}
		held = append(held, s)
	}
	if n := len(held); n > 0 && held[n-1].first >= from.first || len(h) > maxReigns {
		return nil
	}
	return held
}

// Keep says that reader has every record up to after, and has yet to read the rest: the
// log keeps it, as far as the queue's bound allows. What was let go before stays gone.
func (v *Volume) Keep(reader string, after ballast.LSN) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log.readers[reader] = min(after, v.log.durable)
	v.log.trim()
}

// Spare says whether a reader is there and reads, and shall find what it has yet to read
// where the queue's bound is passed, too: as much as the image takes may then be kept beyond it.
// While somebody writes fast, a copy that was filled would else never find the log behind its chunks.
func (v *Volume) Spare(reader string, spare bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log.spareFor(reader, spare, min(v.imageUsed, mostSpared))
}

// Pressure says how much of what the log keeps for its readers, and for those that are spared,
// is taken by records behind after: from 1 on the oldest of them are let go.
func (v *Volume) Pressure(after ballast.LSN) float64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.log.pressure(after)
}

func (l *log) pressure(after ballast.LSN) float64 {
	room := l.capacity + l.more
	if room <= 0 || len(l.held) == 0 {
		return 0
	}
	// All segments are of one size; the ones before the first that begins behind it are done with, but for the last.
	done := max(0, sort.Search(len(l.held), func(i int) bool { return l.held[i].first > after+1 })-1)
	return float64(int64(len(l.held)-done)*int64(l.held[0].blocks)*blockSize) / float64(room)
}

func (l *log) spareFor(reader string, spare bool, more int64) {
	if delete(l.spared, reader); spare {
		l.spared[reader] = true
	}
	if l.more = 0; len(l.spared) > 0 {
		l.more = more
	}
	l.trim()
}

// Forget says that a reader needs nothing any more.
func (v *Volume) Forget(reader string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.log.readers, reader)
	v.log.spareFor(reader, false, v.log.more)
}

// Archived says that the archive has every record up to lsn: the log need not
// keep them for it.
func (v *Volume) Archived(lsn ballast.LSN) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l := &v.log
	l.archived = max(l.archived, min(lsn, l.durable))
	l.readers[ArchiveReader] = l.archived
	if waiting := l.points.after(l.archived); len(waiting) < len(l.points.list) {
		l.done = l.points.list[len(l.points.list)-len(waiting)-1].end
	}
	l.points.forget(l.archived)
	l.trim()
}

// waiting is how much of the log, in bytes, is behind the newest flush that is archived.
func (l *log) waiting() int64 {
	if len(l.points.list) == 0 || len(l.used) == 0 {
		return 0
	}
	oldest := l.used[0]
	if len(l.held) > 0 {
		oldest = l.held[0]
	}
	from := max(l.done, oldest.at(0))
	return int64(max(l.end(), from+1)-from) * blockSize //nolint:gosec // a log is smaller than 8 EiB
}

// end is where the next record goes.
func (l *log) end() position {
	if len(l.used) == 0 {
		return 0
	}
	return l.used[len(l.used)-1].at(l.next)
}

// recycleHeld makes a segment of the queue ready for use, if there is one.
func (v *Volume) recycleHeld() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.log.held) == 0 {
		return false
	}
	v.log.recycle()
	return true
}

// roundOnFull is round on a disk that may be full: what the log holds for the
// archive is removed before a writer has to wait. The caller holds applying.
func (v *Volume) roundOnFull(pause pauser) error {
	for {
		err := v.round(pause)
		if !isFull(err) {
			return err
		}
		removed, failed := v.removeHeld()
		if !removed || failed != nil {
			return errors.Join(err, failed)
		}
	}
}

// removeHeld removes the queue's oldest segment from the disk.
func (v *Volume) removeHeld() (removed bool, err error) {
	v.making.Lock()
	defer v.making.Unlock()
	if !v.recycleHeld() {
		return false, nil
	}
	return true, v.dropSegment()
}
