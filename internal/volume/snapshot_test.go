package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"sync"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

const sheetChunks = 4

// makeSheet makes a small volume of several chunks.
func makeSheet(t testing.TB, fsys vfs.FS) {
	t.Helper()
	d := small
	d.Size = sheetChunks * ballast.ChunkSize
	if err := errors.Join(fsys.Mkdir(testDir), create(fsys, testDir, &d, func(*chunks) {}), fsys.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
}

// picture is what an archive would make of a volume's snapshots: each one is
// laid over the last.
type picture struct {
	base ballast.LSN
	p    []byte
}

// lay reads a chunk more of a snapshot. It reports whether that was the last one.
func (pic *picture) lay(s *Snapshot) (done bool, err error) {
	pic.p = append(pic.p, make([]byte, int(s.Info().Size)-len(pic.p))...)
	buf := make([]byte, ballast.ChunkSize)
	chunk, zero, err := s.Next(buf)
	if errors.Is(err, io.EOF) {
		pic.base = s.Info().LSN
		return true, s.Close()
	}
	if err != nil {
		return false, err
	}
	if zero {
		clear(buf)
	}
	copy(pic.p[chunk*ballast.ChunkSize:], buf)
	return false, nil
}

func (s *sheet) step(ctx context.Context) error {
	switch n := s.rng.IntN(40); {
	case n < 20:
		return s.write()
	case n < 24:
		return s.discard()
	case n < 30:
		return s.flush()
	case n == 30 && s.blocks() < 8*blocksPerChunk:
		return s.grow()
	case n < 34:
		return s.read()
	default:
		return s.fold(ctx)
	}
}

// TestSnapshot takes snapshots, full ones and of what changed since the last one,
// while random work goes on between any two of their chunks: laid over one another
// they are the volume at the last one's LSN (V10).
func TestSnapshot(t *testing.T) {
	for seed := range uint64(sheetSeeds) {
		rng := rand.New(rand.NewPCG(seed, 20))
		disk := crashfs.New()
		makeSheet(t, disk)
		s := newSheet(rng, sheetChunks)
		var err error
		if s.v, err = openSmall(disk, 1); err != nil {
			t.Fatal(err)
		}
		var pic picture
		for range 6 {
			if rng.IntN(3) == 0 {
				pic = picture{}
			}
			if err := snapshotUnderWork(t.Context(), s, &pic); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if err := s.verify(s.v); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func snapshotUnderWork(ctx context.Context, s *sheet, pic *picture) error {
	for range 10 {
		if err := s.step(ctx); err != nil {
			return err
		}
	}
	snap, err := s.v.Snapshot(ctx, pic.base)
	if err != nil {
		return err
	}
	if info := snap.Info(); info.LSN != s.last || info.Epoch != s.v.Epoch() || info.Size != s.v.Size() {
		return fmt.Errorf("snapshot is of %+v; want LSN %d of %v", info, s.last, s.v.Epoch())
	}
	for done := false; !done; {
		for range s.rng.IntN(20) {
			if err := s.step(ctx); err != nil {
				return err
			}
		}
		if done, err = pic.lay(snap); err != nil {
			return err
		}
	}
	return s.compare(pic.p, snap.Info().LSN)
}

// TestSnapshotWhileWriting reads snapshots beside a writer and Run: each must be
// the volume at its LSN, however rounds of apply and the reader met (V10).
func TestSnapshotWhileWriting(t *testing.T) {
	disk := crashfs.New()
	makeSheet(t, disk)
	s := newSheet(rand.New(rand.NewPCG(1, 24)), sheetChunks)
	var err error
	if s.v, err = openSmall(disk, 1); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var background, workers sync.WaitGroup
	background.Go(func() {
		if err := s.v.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	written := make(chan struct{})
	workers.Go(func() {
		defer close(written)
		for range 600 {
			if err := s.write(); err != nil {
				t.Error(err)
			}
		}
	})
	var pics []picture
	workers.Go(func() { pics = readSnapshots(t, s.v, written) })
	workers.Wait()
	stop()
	background.Wait()
	for _, pic := range pics {
		if err := s.compare(pic.p, pic.base); err != nil {
			t.Errorf("snapshot of LSN %d: %v", pic.base, err)
		}
	}
	if last := pics[len(pics)-1].base; last != s.last {
		t.Errorf("the last snapshot is of LSN %d; want %d", last, s.last)
	}
	if err := s.v.Close(); err != nil {
		t.Error(err)
	}
}

// readSnapshots reads one after another, each since the one before, until there
// was one that began after done was closed.
func readSnapshots(t *testing.T, v *Volume, done <-chan struct{}) (pics []picture) {
	var pic picture
	for last := false; !last; {
		select {
		case <-done:
			last = true
		default:
		}
		snap, err := v.Snapshot(t.Context(), pic.base)
		for end := false; err == nil && !end; {
			end, err = pic.lay(snap)
		}
		if err != nil {
			t.Error(err)
			return pics
		}
		pics = append(pics, picture{pic.base, bytes.Clone(pic.p)})
	}
	return pics
}

// TestSnapshotIsAlone: one at a time, and none of what is not there yet.
func TestSnapshotIsAlone(t *testing.T) {
	disk := crashfs.New()
	makeSheet(t, disk)
	v, err := openSmall(disk, 1)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := v.Snapshot(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := snap.Next(make([]byte, ballast.ChunkSize)); !errors.Is(err, io.EOF) {
		t.Errorf("Next of a volume that never changed = %v; want EOF", err)
	}
	if _, err := v.Snapshot(t.Context(), 0); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("a second Snapshot = %v; want ErrInUse", err)
	}
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Snapshot(t.Context(), 1); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("Snapshot since a record that is not there = %v; want ErrInvalid", err)
	}
	if snap, err = v.Snapshot(t.Context(), 0); err != nil {
		t.Errorf("Snapshot after one that failed = %v; want nil", err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := snap.Next(make([]byte, ballast.ChunkSize)); !errors.Is(err, ErrClosed) {
		t.Errorf("Next after the volume's Close = %v; want ErrClosed", err)
	}
}

// brokenSpill is a disk on which nothing can be saved for a snapshot.
type brokenSpill struct {
	vfs.FS
	file error // of writes; nil: the file cannot be made
}

func (b brokenSpill) Create(name string) (vfs.File, error) {
	if path.Base(name) != spillName(0) {
		return b.FS.Create(name)
	}
	if b.file == nil {
		return nil, syscall.EIO
	}
	f, err := b.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return brokenFile{f, b.file}, nil
}

type brokenFile struct {
	vfs.File
	err error
}

func (f brokenFile) WriteAt([]byte, int64) (int, error) { return 0, f.err }

// TestSnapshotGivesUp: when what is overwritten cannot be saved, the snapshot
// ends with an error, its file is gone, the volume goes on, and the next snapshot
// is as good as any (V10).
func TestSnapshotGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrap  func(vfs.FS) vfs.FS
		limit int64
	}{
		{"more than may be saved", func(f vfs.FS) vfs.FS { return f }, 2 * blockSize},
		{"no file can be made", func(f vfs.FS) vfs.FS { return brokenSpill{f, nil} }, 0},
		{"the disk is full", func(f vfs.FS) vfs.FS { return brokenSpill{f, syscall.ENOSPC} }, 0},
		{"the disk fails", func(f vfs.FS) vfs.FS { return brokenSpill{f, syscall.EIO} }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := crashfs.New()
			makeSheet(t, disk)
			s := newSheet(rand.New(rand.NewPCG(1, 21)), sheetChunks)
			var err error
			if s.v, err = Open(tt.wrap(disk), testDir, Options{Epoch: 1, LogCapacity: 6 * small.Segment, SpillLimit: tt.limit}); err != nil {
				t.Fatal(err)
			}
			work := func() {
				for range 100 {
					if err := s.write(); err != nil {
						t.Fatal(err)
					}
				}
			}
			work()
			snap, err := s.v.Snapshot(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			work()
			_, _, err = snap.Next(make([]byte, ballast.ChunkSize))
			if err == nil || errors.Is(err, io.EOF) || s.v.Err() != nil {
				t.Errorf("Next = %v, volume %v; want an error, and a volume that is well", err, s.v.Err())
			}
			if _, err := disk.Open(path.Join(testDir, spillName(0))); err == nil {
				t.Error("what was saved is still there")
			}
			if err := errors.Join(snap.Close(), s.verify(s.v)); err != nil {
				t.Error(err)
			}
			var pic picture
			snap, err = s.v.Snapshot(t.Context(), 0)
			for done := false; err == nil && !done; {
				done, err = pic.lay(snap)
			}
			if err = errors.Join(err, s.compare(pic.p, s.last)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFailingDiskUnderSnapshot makes the disk fail at its n-th operation, for
// every n: a snapshot is then right or refused, never wrong, and nothing that was
// acknowledged is lost (V10, G6).
func TestFailingDiskUnderSnapshot(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			for n, more := 0, true; more; n += sheetStride {
				more = snapshotFailingAt(t, uint64(n), n, errno)
			}
		})
	}
}

func snapshotFailingAt(t *testing.T, seed uint64, n int, errno syscall.Errno) (failed bool) {
	rng := rand.New(rand.NewPCG(seed, 22))
	disk := crashfs.New()
	makeSheet(t, disk)
	s := newSheet(rng, sheetChunks)
	var err error
	if s.v, err = openSmall(disk, 1); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if err := s.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	start := -1
	disk.FailWith(func(op int, _ string) error {
		if start < 0 {
			start = op
		}
		if op-start == n {
			failed = true
			return errno
		}
		return nil
	})
	var pic picture
	snap, err := s.v.Snapshot(t.Context(), 0)
	for done := false; err == nil && !done; {
		for range 10 {
			if err := s.step(t.Context()); err != nil {
				s.cut(s.v.Stats().Last)
			}
		}
		if done, err = pic.lay(snap); done && err == nil {
			err = s.compare(pic.p, snap.Info().LSN)
		}
	}
	if err := unlessRefused(err, errno); err != nil && snap != nil && snap.err == nil {
		t.Errorf("operation %d: %v", n, err)
	}
	disk.FailWith(nil)
	v, err := openSmall(disk.PowerCut(rng), 2)
	if err == nil {
		err = s.verify(v)
	}
	if err != nil {
		t.Errorf("operation %d: after a power cut: %v", n, err)
	}
	return failed
}

// TestPowerCutUnderSnapshot cuts the power before every operation while a
// snapshot is read: the volume is what it would be without one, nothing is left
// of the snapshot, and the next one is right (V2, V10).
func TestPowerCutUnderSnapshot(t *testing.T) {
	for seed := range 1 + uint64(sheetSeeds)/4 {
		rng := rand.New(rand.NewPCG(seed, 23))
		disk := crashfs.New()
		makeSheet(t, disk)
		s := newSheet(rng, sheetChunks)
		var err error
		if s.v, err = openSmall(disk, 1); err != nil {
			t.Fatal(err)
		}
		disk.BeforeEach(func(op int) {
			if rng.IntN(6*share) > 0 {
				return
			}
			after := disk.PowerCut(rng)
			if err := cutUnderSnapshot(t.Context(), s, after); err != nil {
				t.Errorf("seed %d, cut before operation %d: %v", seed, op, err)
			}
		})
		var pic picture
		for range 3 {
			if err := snapshotUnderWork(t.Context(), s, &pic); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

func cutUnderSnapshot(ctx context.Context, s *sheet, after *crashfs.FS) error {
	if rep, err := Check(after, testDir); err != nil || len(rep.Damage) > 0 {
		return fmt.Errorf("check: %w %v", err, rep.Damage)
	}
	v, err := openSmall(after, 2)
	if err != nil {
		return err
	}
	if _, err := after.Open(path.Join(testDir, spillName(0))); err == nil {
		return errors.New("what was saved for the snapshot is still there")
	}
	if err := s.verify(v); err != nil {
		return err
	}
	var pic picture
	snap, err := v.Snapshot(ctx, 0)
	for done := false; err == nil && !done; {
		done, err = pic.lay(snap)
	}
	if err != nil {
		return err
	}
	return s.compare(pic.p, snap.Info().LSN)
}
