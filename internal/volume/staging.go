package volume

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/ballast-io/ballast"
)

// settleStaged is how many chunks are staged before they are synced: what a crash
// costs at most.
const settleStaged = 32

// StagePoint is the point of the history that a copy is brought to in chunks.
type StagePoint struct {
	LSN     ballast.LSN // of the leader's snapshot
	Epoch   ballast.Epoch
	Size    int64   // of the volume then, in bytes
	Lineage Lineage // the leader's; its last reign is Epoch's
	// Since is an LSN up to which both histories are the same, and that is in the
	// image here: only chunks that changed after it, on either side, need come. 0: all that ever changed.
	Since ballast.LSN
}

func (to StagePoint) validate() error {
	switch {
	case to.Size <= 0 || to.Size%ballast.ChunkSize != 0:
		return fmt.Errorf("size %d is no multiple of %d", to.Size, ballast.ChunkSize)
	case to.LSN >= stagedFlags || to.Since > to.LSN:
		return fmt.Errorf("changes since %d make no LSN %d", to.Since, to.LSN)
	case to.Epoch == 0 || !to.Lineage.valid() || len(to.Lineage) > maxReigns || to.Lineage.Epoch() != to.Epoch:
		return fmt.Errorf("the lineage is not one of %v", to.Epoch)
	case to.Lineage[len(to.Lineage)-1].From > to.LSN+1:
		return fmt.Errorf("the lineage goes on beyond LSN %d", to.LSN)
	}
	return nil
}

// Staging is the chunks that bring a copy to another point of the history. They
// stand beside the image until they are all there (R6); those of a copy that has
// nothing yet go into its image at once. It is safe for concurrent use.
type Staging struct {
	f    *Follower
	to   StagePoint // constant
	size int64      // of the copy when the staging began, in bytes; constant

	missing, here atomic.Int64 // chunks; for who asks how far it is
	stop          atomic.Bool  // a merge that is under way shall end

	mu      sync.Mutex // guards everything below; taken before all locks of the volume
	files   *staged
	pending []int // put, and not synced yet
	taken   int   // chunks that were put
	err     error // the first failure: what was put since the last sync is in doubt
	merging bool  // there is no way back
	closed  bool
}

// Stage begins to bring the copy to a point of the history, or goes on where an
// earlier staging broke off: see [Staging.Staged] for what of that still counts. The
// epoch is stored before it returns, else the error is [ErrStaleEpoch] (R4). There is one staging at a
// time, else it is [ballast.ErrInUse]; a point that makes no sense is [ballast.ErrInvalid].
func (f *Follower) Stage(to StagePoint) (*Staging, error) {
	if err := to.validate(); err != nil {
		return nil, fmt.Errorf("stage volume %s: %w: %w", f.v.id, ballast.ErrInvalid, err)
	}
	s := &Staging{f: f, to: to}
	if !f.staging.CompareAndSwap(nil, s) {
		return nil, fmt.Errorf("stage volume %s: chunks of it are being staged: %w", f.v.id, ballast.ErrInUse)
	}
	if err := s.begin(); err != nil {
		f.staging.Store(nil)
		return nil, fmt.Errorf("stage volume %s: %w", f.v.id, err)
	}
	return s, nil
}

func (s *Staging) begin() (err error) {
	if err := s.f.mergeLeft(); err != nil {
		return err
	}
	v := s.f.v
	defer v.interrupt()()
	if err := v.promise(s.to.Epoch); err != nil {
		return err
	}
	if s.to.Since > v.desc.Applied {
		return fmt.Errorf("%w: the changes since LSN %d are not enough for a copy at %d", ballast.ErrInvalid, s.to.Since, v.desc.Applied)
	}
	s.size = v.desc.Size
	s.files, err = stage(v.fsys, v.dir, s.to, v.desc)
	return err
}

// Expect says how many chunks are to be put, for [FollowerState].
func (s *Staging) Expect(chunks int) { s.missing.Store(int64(chunks)) }

// Staged are the chunks that are here already, with the LSN of their last change on
// the leader: those that changed since must be put again, and no others.
func (s *Staging) Staged() iter.Seq2[int, ballast.LSN] {
	return func(yield func(int, ballast.LSN) bool) {
		s.mu.Lock()
		table := append([]uint64(nil), s.files.table...)
		s.mu.Unlock()
		for chunk, entry := range table {
			if entry&stagedBit != 0 && !yield(chunk, stagedLSN(entry)) {
				return
			}
		}
	}
}

// Put stages a chunk: its bytes at the point, nil for zeros, and the LSN of its last
// change in the leader's table. After an error, be it that the disk is full, the staging only can be
// closed; the copy is what it was.
func (s *Staging) Put(chunk int, lsn ballast.LSN, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.usable()
	if err == nil {
		err = s.put(chunk, lsn, data)
	}
	if err != nil {
		return fmt.Errorf("stage chunk %d of volume %s: %w", chunk, s.f.v.id, err)
	}
	return nil
}

func (s *Staging) put(chunk int, lsn ballast.LSN, data []byte) error {
	switch {
	case chunk < 0 || chunk >= len(s.files.table):
		return fmt.Errorf("%w: the volume has %d", ballast.ErrInvalid, len(s.files.table))
	case data != nil && len(data) != ballast.ChunkSize:
		return fmt.Errorf("%w: it has %d bytes", ballast.ErrInvalid, len(data))
	case lsn > max(s.to.LSN, 1): // a volume that was made from an archive may have changed chunks at LSN 0
		return fmt.Errorf("%w: it changed at LSN %d, the point is LSN %d", ballast.ErrInvalid, lsn, s.to.LSN)
	case s.taken >= 2*len(s.files.table):
		return fmt.Errorf("%w: it was put before, and so were all others", ballast.ErrInvalid)
	}
	zero := data == nil || bytes.Equal(data, zeroChunk[:])
	if err := s.files.write(chunk, lsn, data, zero); err != nil {
		return s.fail(err)
	}
	s.taken++
	s.here.Add(1)
	s.missing.Add(-1)
	if s.pending = append(s.pending, chunk); len(s.pending) >= settleStaged {
		return s.settle()
	}
	return nil
}

// settle makes durable what was put, and then the index say so.
func (s *Staging) settle() error {
	if err := s.files.settle(s.pending); err != nil {
		return s.fail(err)
	}
	s.pending = s.pending[:0]
	return nil
}

func (s *Staging) usable() error {
	switch {
	case s.err != nil:
		return s.err
	case s.closed:
		return ErrClosed
	}
	return nil
}

// fail makes err the staging's last word. A chunk that was put twice may be half of
// each then; its LSN in the index is the old one, so that it is asked for again.
func (s *Staging) fail(err error) error {
	if isFull(err) {
		err = fmt.Errorf("the disk is full; the copy is as it was, what was staged is kept until it goes on; free space there: %w", err)
	}
	s.err = err
	return err
}

// Close ends the staging, and a Finish that is under way: a merge then goes on with the next
// Stage, or when the copy is opened next. What was staged is kept. It is safe to
// call more than once.
func (s *Staging) Close() error {
	s.stop.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var err error
	if s.err == nil && len(s.pending) > 0 {
		err = s.settle()
	}
	s.closed = true
	err = errors.Join(err, s.files.close())
	s.f.staging.CompareAndSwap(s, nil)
	return err
}

// Changed returns the chunks of the image that changed after a record, and those that are
// not here: what a leader whose history is another from there on must send,
// whatever its own table says of them.
func (f *Follower) Changed(after ballast.LSN) []int {
	defer f.v.interrupt()()
	return f.v.chunks.lacking(after)
}

func (c *chunks) lacking(after ballast.LSN) (found []int) {
	for i, entry := range c.table {
		if entry&presentBit == 0 || ballast.LSN(entry&^presentBit) > after {
			found = append(found, i)
		}
	}
	return found
}

// DropStaged removes what broken off stagings left, for its disk space. Nothing
// of the copy is lost by it, but what it would have spared the next staging.
func (f *Follower) DropStaged() error {
	if f.staging.Load() != nil {
		return fmt.Errorf("remove staged chunks of volume %s: they are being staged: %w", f.v.id, ballast.ErrInUse)
	}
	defer f.v.interrupt()()
	if f.v.desc.Merging != 0 {
		return fmt.Errorf("remove staged chunks of volume %s: they are being merged: %w", f.v.id, ballast.ErrInUse)
	}
	err := removeStaging(f.v.fsys, f.v.dir)
	if err == nil && f.v.desc.Incomplete {
		err = f.v.image.Punch(0, f.v.desc.Size) // some of them went there
	}
	return err
}

// progress is how many chunks are still to be put, and how many were.
func (f *Follower) progress() (missing, staged int) {
	if s := f.staging.Load(); s != nil {
		return int(max(s.missing.Load(), 0)), int(s.here.Load())
	}
	return 0, 0
}
