package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
)

const blocksPerChunk = ballast.ChunkSize / blockSize

var zeroChunk [ballast.ChunkSize]byte

// SnapshotInfo says what a snapshot is of.
type SnapshotInfo struct {
	LSN   ballast.LSN   // it holds every record up to this one, and no other
	Epoch ballast.Epoch // that wrote LSN; 0 when that is not known any more
	Size  int64         // of the volume in bytes
	Time  time.Time     // when LSN was the last record: a label for people
}

// Snapshot is a volume as it was at one LSN, while the volume goes on. It is
// safe for concurrent use and has no goroutine; the caller must Close it.
type Snapshot struct {
	v    *Volume
	base bool         // for the archive: there is one at a time
	slot int          // which no other open snapshot has
	info SnapshotInfo // constant after Volume.Snapshot

	mu     sync.Mutex    // orders the reader and rounds of apply; guards everything below
	todo   []uint32      // chunks that are yet to be read, ascending
	lsns   []ballast.LSN // of their last changes
	kept   spill
	err    error // why it was given up
	closed bool
}

// Always is what the argument of [Volume.SnapshotOf] returns for a chunk that is
// wanted whether it ever changed or not.
const Always = ballast.LSN(math.MaxUint64)

// Snapshot begins a snapshot of the chunks that changed after the record since;
// 0 means all that ever changed. Writers go on: all that was written when
// Snapshot was called is folded into the image, once it is committed, and from then on a round of
// apply saves what it is about to overwrite, in a file beside the image (V10).
// There is one at a time, else the error is [ballast.ErrInUse]; a volume that is
// not all here yet is [ballast.ErrNotReady]. Those of SnapshotOf do not count.
func (v *Volume) Snapshot(ctx context.Context, since ballast.LSN) (*Snapshot, error) {
	return v.takeSnapshot(ctx, &Snapshot{v: v, base: true}, func(int) ballast.LSN { return since }, since)
}

// SnapshotOf begins a snapshot of the chunks whose last change is after what
// changedAfter says of each, or that it says [Always] of. changedAfter is called once for every chunk
// and must not call the volume. No other copy is waited for, as it may be what is to be rebuilt: the
// snapshot is of a record that is committed, which may be before the last one that is. There are up to seven such snapshots at a time beside one of
// [Volume.Snapshot], else the error is [ballast.ErrInUse]; what is saved for all of
// them together stays within [Options.SpillLimit], and the one that takes most of it is given up first.
func (v *Volume) SnapshotOf(ctx context.Context, changedAfter func(chunk int) ballast.LSN) (*Snapshot, error) {
	return v.takeSnapshot(ctx, &Snapshot{v: v}, changedAfter, 0)
}

func (v *Volume) takeSnapshot(ctx context.Context, s *Snapshot, changedAfter func(chunk int) ballast.LSN, since ballast.LSN) (*Snapshot, error) {
	if !v.snapshots.add(s) {
		return nil, fmt.Errorf("snapshot volume %s: another snapshot is being read: %w", v.id, ballast.ErrInUse)
	}
	s.kept = newSpill(v.fsys, path.Join(v.dir, spillName(s.slot)), &v.snapshots.spilled)
	if err := s.begin(ctx, changedAfter, since); err != nil {
		return nil, fmt.Errorf("snapshot volume %s: %w", v.id, errors.Join(err, s.Close()))
	}
	return s, nil
}

// begin waits for all that was written so far to be in the image. Between two
// rounds it lets others have applying: a writer who needs room comes first.
func (s *Snapshot) begin(ctx context.Context, changedAfter func(chunk int) ballast.LSN, since ballast.LSN) error {
	target, err := s.v.mark()
	if err != nil {
		return err
	}
	if since > target {
		return fmt.Errorf("%w: there is no record %d yet, the last one is %d", ballast.ErrInvalid, since, target)
	}
	for {
		var begun bool
		err := s.v.whenReady(ctx, func() (err error) {
			begun, err = s.beginAt(ctx, target, changedAfter)
			return err
		})
		if begun || err != nil {
			return err
		}
	}
}

// beginAt makes a round, if the image is not the volume at an LSN, or at one below
// target; else the snapshot is of that.
func (s *Snapshot) beginAt(ctx context.Context, target ballast.LSN, changedAfter func(chunk int) ballast.LSN) (begun bool, err error) {
	v := s.v
	v.applying.Lock()
	defer v.applying.Unlock()
	if n := v.hydration.left.Load(); n > 0 {
		return false, fmt.Errorf("%w: %d chunks are still to be fetched", ballast.ErrNotReady, n)
	}
	info, err := v.imageInfo()
	if err != nil {
		return false, err
	}
	if info.LSN < target || v.isPartly() {
		err := v.foldNext(ctx)
		if s.base || v.isPartly() || !errors.As(err, new(*uncommittedError)) {
			return false, err
		}
	}
	info.Epoch = v.desc.History.epochAt(info.LSN)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info = info
	s.todo, s.lsns = v.chunks.wanted(changedAfter)
	return true, nil
}

// mark sets all that was written so far aside from what follows, and returns its last record.
func (v *Volume) mark() (ballast.LSN, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usable(); err != nil {
		return 0, err
	}
	if !v.active.isEmpty() {
		v.freeze(v.log.tailPosition())
	}
	return v.log.last, nil
}

// imageInfo says what the image is of. The label is not before the record: a
// restore to an earlier moment must not begin with it.
func (v *Volume) imageInfo() (SnapshotInfo, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return SnapshotInfo{LSN: v.applied, Size: v.size, Time: v.opts.Now()}, v.usable()
}

// foldNext makes one round. The caller holds applying.
func (v *Volume) foldNext(ctx context.Context) error {
	err := v.roundOnFull(func(int) error {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return nil
	})
	if errors.Is(err, errInterrupted) {
		return context.Cause(ctx)
	}
	return err
}

// wanted returns the chunks that changed after what is said of each, in order,
// and at which LSN.
func (c *chunks) wanted(after func(chunk int) ballast.LSN) (found []uint32, lsns []ballast.LSN) {
	for i, entry := range c.table {
		lsn, since := ballast.LSN(entry&^presentBit), after(i)
		if lsn > since || since == Always {
			found, lsns = append(found, uint32(i)), append(lsns, lsn)
		}
	}
	return found, lsns
}

// Info says what the snapshot is of.
func (s *Snapshot) Info() SnapshotInfo { return s.info }

// SnapshotChunk is a chunk of a snapshot.
type SnapshotChunk struct {
	Chunk int
	LSN   ballast.LSN // of its last change, or a little above it; 0: it never changed
	Zero  bool        // it is all zeros
}

// Next reads the next chunk into p, which has room for one, and says which it
// is and whether it is all zeros. Chunks come in ascending order; after the last
// one the error is [io.EOF]. Any other error is the end of the snapshot, and
// means nothing for the volume: take another one.
func (s *Snapshot) Next(p []byte) (chunk int, zero bool, err error) {
	c, err := s.NextChunk(p)
	return c.Chunk, c.Zero, err
}

// NextChunk is Next that also says when the chunk changed.
func (s *Snapshot) NextChunk(p []byte) (SnapshotChunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return SnapshotChunk{}, fmt.Errorf("read snapshot of volume %s: %w", s.v.id, err)
	}
	if len(s.todo) == 0 {
		return SnapshotChunk{}, io.EOF
	}
	next := SnapshotChunk{Chunk: int(s.todo[0]), LSN: s.lsns[0]}
	p = p[:ballast.ChunkSize]
	if err := s.read(next.Chunk, p); err != nil {
		s.giveUp(err)
		return SnapshotChunk{}, fmt.Errorf("read snapshot of volume %s: %w", s.v.id, err)
	}
	s.todo, s.lsns = s.todo[1:], s.lsns[1:]
	next.Zero = bytes.Equal(p, zeroChunk[:])
	return next, nil
}

// Skip leaves out what the reader has: the chunks that have returns true for, with
// the LSN of their last change. They are not read from the disk.
func (s *Snapshot) Skip(have func(chunk int, changed ballast.LSN) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := 0
	for i, chunk := range s.todo {
		if !have(int(chunk), s.lsns[i]) {
			s.todo[kept], s.lsns[kept] = chunk, s.lsns[i]
			kept++
		}
	}
	s.todo, s.lsns = s.todo[:kept], s.lsns[:kept]
}

// Left is how many chunks are yet to be read.
func (s *Snapshot) Left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.todo)
}

func (s *Snapshot) usable() error {
	switch {
	case s.err != nil:
		return s.err
	case s.closed:
		return ErrClosed
	}
	// The image of a volume that failed may not be what was written to it.
	return s.v.Err()
}

// read fills p with a chunk: what the image holds, but for what was saved. Most of a
// fresh filesystem was discarded, and has changed; to read its holes would take
// as long as to read data.
func (s *Snapshot) read(chunk int, p []byte) error {
	off := int64(chunk) * ballast.ChunkSize
	hole, err := s.v.image.Hole(off, ballast.ChunkSize)
	if hole {
		clear(p)
	} else if err == nil {
		_, err = s.v.image.ReadAt(p, off)
	}
	if err != nil {
		return err
	}
	first := ballast.Block(chunk) * blocksPerChunk
	return s.kept.restore(p, first)
}

// preserve saves for the snapshots what is about to change in the image. The
// caller holds applying.
func (v *Volume) preserve(x extent) {
	if seeded(overwriteUnsaved) {
		return
	}
	for i, s := range v.snapshots.list() {
		if i > 0 && seeded(preserveOne) {
			return
		}
		for left := x; left.first < left.end; {
			next, err := s.saveNext(left)
			if errors.Is(err, errNoRoom) {
				v.snapshots.largest(s).end(err)
				continue // it has room now, or has ended itself
			}
			left.first = next
		}
	}
}

// saveNext saves what x has of the first chunk that is yet to be read. It
// returns the block to go on with, or errNoRoom.
func (s *Snapshot) saveNext(x extent) (ballast.Block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.err != nil {
		return x.end, nil
	}
	i, _ := slices.BinarySearch(s.todo, uint32(x.first/blocksPerChunk))
	if i == len(s.todo) {
		return x.end, nil
	}
	first := ballast.Block(s.todo[i]) * blocksPerChunk
	x.first = max(x.first, first)
	if x.first >= x.end {
		return x.end, nil
	}
	x.end = min(x.end, first+blocksPerChunk)
	err := s.save(x)
	if errors.Is(err, errNoRoom) {
		return 0, err
	}
	if err != nil {
		s.giveUp(fmt.Errorf("save what is about to be overwritten: %w", err))
	}
	return x.end, nil
}

// save keeps the bytes of blocks of one chunk. Those that were saved before may
// have changed in the image since, by a round that was set back.
func (s *Snapshot) save(x extent) error {
	for x.first < x.end {
		if s.kept.has(x.first) {
			x.first++
			continue
		}
		n := ballast.Block(1)
		for x.first+n < x.end && !s.kept.has(x.first+n) {
			n++
		}
		p := make([]byte, n*blockSize)
		if _, err := s.v.image.ReadAt(p, int64(x.first)*blockSize); err != nil {
			return err
		}
		if err := s.kept.add(p, x.first); err != nil {
			return err
		}
		x.first += n
	}
	return nil
}

// end gives the snapshot up, if it is not over.
func (s *Snapshot) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.err == nil {
		s.giveUp(err)
	}
}

// giveUp ends the snapshot, whose place on disk the volume may need. The caller
// holds mu.
func (s *Snapshot) giveUp(err error) {
	s.err = err
	s.v.opts.Log.Warn("snapshot given up", "volume", s.v.id, "error", errors.Join(err, s.kept.remove()))
}

// Close ends the snapshot and removes what was saved for it. It is safe to call
// more than once.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.kept.remove()
	s.v.snapshots.remove(s)
	return err
}
