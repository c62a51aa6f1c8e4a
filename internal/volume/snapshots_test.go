package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// rebuild is a reader that has each chunk as of some LSN, and brings all to one
// with a snapshot of what changed since.
type rebuild struct {
	p    []byte
	lsns map[int]ballast.LSN
	snap *Snapshot
}

// begin takes a snapshot of what the reader lacks, and of chunk 1 in any case.
func (r *rebuild) begin(ctx context.Context, v *Volume) (err error) {
	r.snap, err = v.SnapshotOf(ctx, func(chunk int) ballast.LSN {
		if chunk == 1 {
			return Always
		}
		return r.lsns[chunk]
	})
	if err == nil {
		r.p = append(r.p, make([]byte, int(r.snap.Info().Size)-len(r.p))...)
	}
	return err
}

// next takes a chunk more, and reports whether that was the last one.
func (r *rebuild) next() (done bool, err error) {
	buf := make([]byte, ballast.ChunkSize)
	c, err := r.snap.NextChunk(buf)
	if errors.Is(err, io.EOF) {
		return true, r.snap.Close()
	}
	if err != nil {
		return false, err
	}
	if c.LSN > r.snap.Info().LSN || c.LSN < r.lsns[c.Chunk] {
		return false, fmt.Errorf("chunk %d of LSN %d changed at %d, before that at %d", c.Chunk, r.snap.Info().LSN, c.LSN, r.lsns[c.Chunk])
	}
	copy(r.p[c.Chunk*ballast.ChunkSize:], buf)
	r.lsns[c.Chunk] = c.LSN
	return false, nil
}

// step goes on, begins, or breaks off and keeps what it has.
func (r *rebuild) step(ctx context.Context, s *sheet) error {
	if r.snap == nil {
		return r.begin(ctx, s.v)
	}
	if s.rng.IntN(12) == 0 {
		err := r.snap.Close()
		r.snap = nil
		return err
	}
	done, err := r.next()
	if !done || err != nil {
		return err
	}
	lsn := r.snap.Info().LSN
	r.snap = nil
	return s.compare(r.p, lsn)
}

// TestSnapshotsAtOnce lets several readers of what each lacks and the archive's
// reader go on at once under random work, breaks some off and lets them go on from
// what they have: each is the volume at its LSN in the end (V10).
func TestSnapshotsAtOnce(t *testing.T) {
	for seed := range uint64(sheetSeeds) {
		rng := rand.New(rand.NewPCG(seed, 50))
		disk := crashfs.New()
		makeSheet(t, disk)
		s := newSheet(rng, sheetChunks)
		var err error
		if s.v, err = openSmall(disk, 1); err != nil {
			t.Fatal(err)
		}
		if err := snapshotsAtOnce(t.Context(), s); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if err := errors.Join(s.verify(s.v), s.v.Close(), spillsIn(disk)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if used := s.v.snapshots.spilled.used.Load(); used != 0 {
			t.Errorf("seed %d: %d bytes count as saved for snapshots that are closed", seed, used)
		}
	}
}

func snapshotsAtOnce(ctx context.Context, s *sheet) error {
	readers := make([]rebuild, 3)
	for i := range readers {
		readers[i].lsns = map[int]ballast.LSN{}
	}
	var pic picture
	for range 6 {
		base, err := s.v.Snapshot(ctx, pic.base)
		for done := false; err == nil && !done; {
			for range s.rng.IntN(20) {
				if err := s.step(ctx); err != nil {
					return err
				}
			}
			if err := readers[s.rng.IntN(len(readers))].step(ctx, s); err != nil {
				return err
			}
			done, err = pic.lay(base)
		}
		if err == nil {
			err = s.compare(pic.p, pic.base)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spillsIn says what is left of snapshots.
func spillsIn(disk *crashfs.FS) error {
	names, err := disk.List(testDir)
	for _, name := range names {
		if strings.HasPrefix(name, spillPrefix) {
			err = errors.Join(err, fmt.Errorf("%s is still there", path.Join(testDir, name)))
		}
	}
	return err
}

// TestSnapshotsShareRoom overwrites more than may be saved for two snapshots: the
// one that most is saved for is given up, and the other is right (V10).
func TestSnapshotsShareRoom(t *testing.T) {
	disk := crashfs.New()
	makeSheet(t, disk)
	s := newSheet(rand.New(rand.NewPCG(1, 51)), sheetChunks)
	var err error
	if s.v, err = Open(disk, testDir, Options{Epoch: 1, LogCapacity: 6 * small.Segment, SpillLimit: 24 * blockSize}); err != nil {
		t.Fatal(err)
	}
	overwrite := func(first, count int) {
		t.Helper()
		for b := first; b < first+count; b++ {
			s.tags++
			p := make([]byte, blockSize)
			paint(p, s.tags, b)
			s.record(s.tags, b, 1)
			if _, err := s.v.WriteAt(p, int64(b)*blockSize); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.fold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	overwrite(0, 60)
	all := func(int) ballast.LSN { return 0 }
	old, err := s.v.SnapshotOf(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(0, 12)
	next := rebuild{lsns: map[int]ballast.LSN{}}
	if err := next.begin(t.Context(), s.v); err != nil {
		t.Fatal(err)
	}
	overwrite(30, 10)
	if _, err := old.NextChunk(make([]byte, ballast.ChunkSize)); !errors.Is(err, errNoRoom) {
		t.Errorf("the larger snapshot = %v; want errNoRoom", err)
	}
	lsn := next.snap.Info().LSN
	for done := false; !done; {
		if done, err = next.next(); err != nil {
			t.Fatalf("the smaller snapshot: %v", err)
		}
	}
	if err := errors.Join(old.Close(), s.compare(next.p, lsn), s.v.Close(), spillsIn(disk)); err != nil {
		t.Error(err)
	}
}

// TestSnapshotsAreFew: there is a bound, and room for the archive's within it.
func TestSnapshotsAreFew(t *testing.T) {
	disk := crashfs.New()
	makeSheet(t, disk)
	v, err := openSmall(disk, 1)
	if err != nil {
		t.Fatal(err)
	}
	all := func(int) ballast.LSN { return 0 }
	for range maxSnapshots - 1 {
		if _, err := v.SnapshotOf(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.SnapshotOf(t.Context(), all); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("one more = %v; want ErrInUse", err)
	}
	if _, err := v.Snapshot(t.Context(), 0); err != nil {
		t.Errorf("the archive's = %v; want nil", err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// TestSnapshotEnds: a snapshot that was read to its end says so for ever.
func TestSnapshotEnds(t *testing.T) {
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
	for range 2 {
		if _, _, err := snap.Next(make([]byte, ballast.ChunkSize)); !errors.Is(err, io.EOF) {
			t.Errorf("Next = %v; want EOF", err)
		}
	}
}
