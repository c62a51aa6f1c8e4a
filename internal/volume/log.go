package volume

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Reasons why a record cannot be appended at once.
var (
	errNoBuffer  = errors.New("every batch is on its way to the disk")
	errNoSegment = errors.New("no segment is free")
)

// writeAhead is from how many bytes on the disk begins with what was written before anybody
// waits for it: who writes much keeps it busy. For less, the call is not worth its while.
const writeAhead = 256 << 10

// log is the tail of the log: where records go. Its fields are guarded by
// [Volume.mu], but for dirty, which is guarded by [Volume.writing].
type log struct {
	salt  uint64
	epoch ballast.Epoch

	used  []*segment // in the order of the log; the last one is being filled
	free  []*segment // ready for use
	seq   uint64     // of the newest segment there ever was
	next  uint64     // the first unused block of the last segment
	tail  *batch     // being filled; nil: none yet
	ready []*batch   // full, to be written in this order
	going []*batch   // being written
	spare [][]byte   // buffers that no batch uses
	made  int        // buffers there are

	last    ballast.LSN // appended
	durable ballast.LSN // on stable storage
	dirty   *segment    // written to since its last sync
	history Lineage     // of the records
	turns   int         // how often the history became another one

	syncing sync.Mutex // held by who syncs a segment
	failed  error      // the first failure of that; guarded by syncing

	queue // what only the archive needs
}

// append adds a record to the tail. It fails with errNoBuffer or errNoSegment,
// and then has changed nothing that a reader could see.
func (l *log) append(r record, data []byte) (record, error) {
	n := r.dataBlocks()
	if l.tail != nil && !l.tail.fits(n) {
		l.cutTail()
	}
	if l.tail == nil {
		if err := l.beginBatch(n); err != nil {
			return r, err
		}
	}
	l.last++
	r.lsn = l.last
	r.pos = l.tail.add(r, data)
	l.next = uint64(l.tail.end()) % l.tail.seg.blocks
	if l.next == 0 { // the segment is full to its last block
		l.next = l.tail.seg.blocks
	}
	return r, nil
}

// cutTail ends the batch that is being filled.
func (l *log) cutTail() {
	if l.tail == nil {
		return
	}
	l.tail.header.durable = l.durable
	l.ready = append(l.ready, l.tail)
	l.tail = nil
}

func (l *log) beginBatch(n uint64) error {
	if len(l.spare) == 0 && l.made == maxBuffers {
		return errNoBuffer
	}
	begins := len(l.used) == 0 || l.next+1+n > l.current().blocks
	if begins && len(l.free) == 0 {
		return errNoSegment
	}
	if begins {
		l.beginSegment()
	}
	seg := l.current()
	l.tail = &batch{seg: seg, pos: seg.at(l.next), begins: begins, buf: l.buffer()}
	l.tail.header = batchHeader{epoch: l.epoch, first: l.last + 1}
	return nil
}

func (l *log) current() *segment { return l.used[len(l.used)-1] }

// beginSegment goes on to a free segment.
func (l *log) beginSegment() {
	s := l.free[0]
	l.free = l.free[1:]
	l.seq++
	s.seq, s.first = l.seq, l.last+1
	l.used = append(l.used, s)
	l.next = 1
}

// buffer returns memory for a batch, with its header block in place.
func (l *log) buffer() []byte {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return b[:blockSize]
	}
	l.made++
	return make([]byte, blockSize, maxBatchBlocks*blockSize)
}

// take hands over what is to be written, the tail included when whole is set.
func (l *log) take(whole bool) []*batch {
	if whole {
		l.cutTail()
	}
	l.going, l.ready = l.ready, nil
	return l.going
}

// written forgets a batch that now stands in its segment.
func (l *log) written(b *batch) {
	l.going = l.going[1:]
	l.spare = append(l.spare, b.buf)
}

// resident returns the batch whose memory holds the data at pos, if any.
func (l *log) resident(pos position) *batch {
	if l.tail != nil && l.tail.holds(pos) {
		return l.tail
	}
	for _, some := range [2][]*batch{l.ready, l.going} {
		for _, b := range some {
			if b.holds(pos) {
				return b
			}
		}
	}
	return nil
}

// segmentOf returns the segment that holds pos, or nil when it was let go.
func (l *log) segmentOf(pos position) *segment {
	for _, s := range l.used {
		if s.seq == uint64(pos)/s.blocks {
			return s
		}
	}
	return nil
}

// release gives every segment that ends before pos to the queue (V4).
func (l *log) release(pos position) {
	if seeded(recycleEarly) {
		pos += position(l.current().blocks)
	}
	for len(l.used) > 1 && l.used[0].seq < uint64(pos)/l.used[0].blocks {
		s := l.used[0]
		l.used = l.used[1:]
		l.hold(s)
	}
}

// tailPosition is where the next record will stand, or later. A discard needs
// no room for data, and may still join a batch that ends with its segment.
func (l *log) tailPosition() position {
	if l.tail != nil {
		return l.tail.pos
	}
	if len(l.used) == 0 {
		return 0
	}
	return l.current().at(l.next)
}

// write puts a batch into its segment. The caller holds [Volume.writing].
func (l *log) write(b *batch) error {
	if l.dirty != b.seg && !seeded(reorderAcrossSegments) {
		// What a later segment holds must not outlive what an earlier one lost.
		if err := l.sync(); err != nil {
			return err
		}
		l.dirty = b.seg
	}
	if b.begins {
		block := make([]byte, blockSize)
		segmentHeader{b.seg.seq, b.seg.first, b.header.epoch}.encode(block, l.salt)
		if _, err := b.seg.file.WriteAt(block, 0); err != nil {
			return fmt.Errorf("write log: %w", err)
		}
	}
	b.encode(l.salt)
	off := b.seg.offset(b.pos)
	if _, err := b.seg.file.WriteAt(b.buf, off); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	if len(b.buf) >= writeAhead {
		vfs.StartWriting(b.seg.file, off, int64(len(b.buf)))
	}
	return nil
}

// sync makes durable what was written. The caller holds [Volume.writing].
func (l *log) sync() error {
	if l.dirty == nil || seeded(skipLogSync) {
		return nil
	}
	if err := l.syncSegment(l.dirty); err != nil {
		return err
	}
	l.dirty = nil
	return nil
}

// syncSegment makes a segment durable. Of two syncs at a time the kernel would tell a
// failure to one only; here the other one fails as well (V6).
func (l *log) syncSegment(s *segment) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.failed != nil {
		return l.failed
	}
	err := s.file.Sync()
	if err != nil && seeded(retryFailedSync) {
		err = s.file.Sync()
	}
	if err != nil {
		l.failed = fmt.Errorf("sync log: %w", err)
	}
	return l.failed
}
