package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
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
	info SnapshotInfo // constant after Volume.Snapshot

	mu     sync.Mutex // orders the reader and rounds of apply; guards everything below
	todo   []uint32   // chunks that are yet to be read, ascending
	kept   spill
	err    error // why it was given up
	closed bool
}

// Snapshot begins a snapshot of the chunks that changed after the record since;
// 0 means all that ever changed. Writers go on: all that was written when
// Snapshot was called is folded into the image, and from then on a round of
// apply saves what it is about to overwrite, in a file beside the image (V10).
// There is one at a time, else the error is [ballast.ErrInUse]; a volume that is
// not all here yet is [ballast.ErrNotReady].
func (v *Volume) Snapshot(ctx context.Context, since ballast.LSN) (*Snapshot, error) {
	s := &Snapshot{v: v, kept: newSpill(v.fsys, path.Join(v.dir, spillName), v.opts.SpillLimit)}
	if !v.snapshot.CompareAndSwap(nil, s) {
		return nil, fmt.Errorf("snapshot volume %s: another snapshot is being read: %w", v.id, ballast.ErrInUse)
	}
	if err := s.begin(ctx, since); err != nil {
		return nil, fmt.Errorf("snapshot volume %s: %w", v.id, errors.Join(err, s.Close()))
	}
	return s, nil
}

// begin stands between two rounds: the image is the volume at its applied LSN.
func (s *Snapshot) begin(ctx context.Context, since ballast.LSN) error {
	v := s.v
	v.applying.Lock()
	defer v.applying.Unlock()
	if n := v.hydration.left.Load(); n > 0 {
		return fmt.Errorf("%w: %d chunks are still to be fetched", ballast.ErrNotReady, n)
	}
	info, err := v.mark()
	if err != nil {
		return err
	}
	if err := v.foldUpTo(ctx, info.LSN); err != nil {
		return err
	}
	if since > info.LSN {
		return fmt.Errorf("%w: there is no record %d yet, the last one is %d", ballast.ErrInvalid, since, info.LSN)
	}
	info.Epoch = v.desc.History.epochAt(info.LSN)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info, s.todo = info, v.chunks.changedAfter(since)
	return nil
}

// mark sets all that was written so far aside from what follows.
func (v *Volume) mark() (SnapshotInfo, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usable(); err != nil {
		return SnapshotInfo{}, err
	}
	if !v.active.isEmpty() {
		v.freeze(v.log.tailPosition())
	}
	return SnapshotInfo{LSN: v.log.last, Size: v.size, Time: v.opts.Now()}, nil
}

// foldUpTo makes rounds until the record lsn is in the image. The caller holds
// applying.
func (v *Volume) foldUpTo(ctx context.Context, lsn ballast.LSN) error {
	for v.Stats().Applied < lsn {
		err := v.roundOnFull(func(int) error {
			if ctx.Err() != nil {
				return errInterrupted
			}
			return nil
		})
		if errors.Is(err, errInterrupted) {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// changedAfter returns the chunks that changed after lsn, in order.
func (c *chunks) changedAfter(lsn ballast.LSN) (found []uint32) {
	for i, entry := range c.table {
		if ballast.LSN(entry&^presentBit) > lsn {
			found = append(found, uint32(i))
		}
	}
	return found
}

// Info says what the snapshot is of.
func (s *Snapshot) Info() SnapshotInfo { return s.info }

// Next reads the next chunk into p, which has room for one, and says which it
// is and whether it is all zeros. Chunks come in ascending order; after the last
// one the error is [io.EOF]. Any other error is the end of the snapshot, and
// means nothing for the volume: take another one.
func (s *Snapshot) Next(p []byte) (chunk int, zero bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return 0, false, fmt.Errorf("read snapshot of volume %s: %w", s.v.id, err)
	}
	if len(s.todo) == 0 {
		return 0, false, io.EOF
	}
	chunk, p = int(s.todo[0]), p[:ballast.ChunkSize]
	if err := s.read(chunk, p); err != nil {
		s.giveUp(err)
		return 0, false, fmt.Errorf("read snapshot of volume %s: %w", s.v.id, err)
	}
	s.todo = s.todo[1:]
	return chunk, bytes.Equal(p, zeroChunk[:]), nil
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

// preserve saves for a snapshot what is about to change in the image. The
// caller holds applying.
func (v *Volume) preserve(x extent) {
	s := v.snapshot.Load()
	if s == nil || seeded(overwriteUnsaved) {
		return
	}
	for x.first < x.end {
		x.first = s.saveNext(x)
	}
}

// saveNext saves what x has of the first chunk that is yet to be read. It
// returns the block to go on with.
func (s *Snapshot) saveNext(x extent) ballast.Block {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.err != nil {
		return x.end
	}
	i, _ := slices.BinarySearch(s.todo, uint32(x.first/blocksPerChunk))
	if i == len(s.todo) {
		return x.end
	}
	first := ballast.Block(s.todo[i]) * blocksPerChunk
	x.first = max(x.first, first)
	if x.first >= x.end {
		return x.end
	}
	x.end = min(x.end, first+blocksPerChunk)
	if err := s.save(x); err != nil {
		s.giveUp(fmt.Errorf("save what is about to be overwritten: %w", err))
	}
	return x.end
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
	s.v.snapshot.CompareAndSwap(s, nil)
	return err
}

// removeSpill removes what a snapshot left that a crash ended.
func removeSpill(fsys vfs.FS, dir string) {
	_ = fsys.Remove(path.Join(dir, spillName)) // or the next snapshot does
}
