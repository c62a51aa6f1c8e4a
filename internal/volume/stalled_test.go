package volume

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// TestStalledCopy lets one thing after another wait for a copy that says nothing. Until it does,
// the volume still grows, and another copy is rebuilt from it, which may be
// what it takes for the first one to be left out.
func TestStalledCopy(t *testing.T) {
	for name, wait := range map[string]func(v *Volume) error{
		"a flush": (*Volume).Flush,
		"a round": foldNow,
		"a round in the background": func(v *Volume) error {
			_, err := v.foldOnce(t.Context(), load{unfolded: true, idle: idleTicks})
			return err
		},
		"room for a writer": func(v *Volume) error {
			return v.whenReady(t.Context(), func() error { return v.foldForRoom(nil) })
		},
		"the archive's snapshot": func(v *Volume) error {
			s, err := v.Snapshot(t.Context(), 0)
			if err != nil {
				return err
			}
			if s.Info().LSN != 1 {
				t.Errorf("the archive's snapshot is of LSN %d; want all that was written", s.Info().LSN)
			}
			return s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk, p := crashfs.New(), newPorter()
			makeSmall(t, disk)
			v := openShipping(t, disk, 1, p)
			writeBlock(t, v, 7)
			v.log.free = nil // a writer would need room
			waiting := later(func() error { return wait(v) })
			<-p.asked
			if err := v.Resize(2 * testSize); err != nil {
				t.Errorf("Resize = %v", err)
			}
			s, err := v.SnapshotOf(t.Context(), func(int) ballast.LSN { return Always })
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Info(); got.LSN != 0 || got.Size != 2*testSize || s.Left() != 2 {
				t.Errorf("the snapshot is %+v; want one of what is committed", got)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			p.say <- nil
			if err := <-waiting; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStalledCopyAfterRound takes a snapshot for a copy when a round of what is committed was
// interrupted, and something besides is not committed: the round is finished first (V10).
func TestStalledCopyAfterRound(t *testing.T) {
	disk, p := crashfs.New(), newPorter()
	makeSmall(t, disk)
	v := openShipping(t, disk, 1, p)
	writeBlock(t, v, 7)
	writeBlock(t, v, 9)
	flushed := later(v.Flush)
	<-p.asked
	p.say <- nil
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	interruptRound(t, v)
	writeBlock(t, v, 11)
	s, err := v.SnapshotOf(t.Context(), func(int) ballast.LSN { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Info().LSN; got != 2 {
		t.Errorf("the snapshot is of LSN %d; want 2", got)
	}
	c, err := s.NextChunk(make([]byte, ballast.ChunkSize))
	if err != nil || c.LSN != 2 {
		t.Errorf("NextChunk = %+v, %v; want one that changed at LSN 2", c, err)
	}
	if _, err := s.NextChunk(nil); !errors.Is(err, io.EOF) {
		t.Errorf("NextChunk at the end = %v; want io.EOF", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// interruptRound begins a round, and ends it after its first piece.
func interruptRound(t *testing.T, v *Volume) {
	t.Helper()
	v.applying.Lock()
	defer v.applying.Unlock()
	if err := v.round(func(int) error { return errInterrupted }); !errors.Is(err, errInterrupted) {
		t.Fatalf("a round that is interrupted = %v", err)
	}
}

// TestForcedLeaderCutsWhatWasBegun lets a copy begin to fold what was committed, and then
// follow a leader that was forced and does not have that. What is in the image already
// cannot be cut, be it a part, and be it that a power cut came between: chunks must come (R5, G4).
func TestForcedLeaderCutsWhatWasBegun(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 77))
		disk := crashfs.New()
		f := newFollower(t, disk)
		appendAll(t, f, batchOf(1, 1, 11, 12, 0, 14), batchOf(1, 5, 15, 16, 17, 18))
		f.Commit(8)
		interruptRound(t, f.v)
		appendAll(t, f, batchOf(1, 9, 19)) // which is never committed
		if seed%4 > 0 {
			disk = disk.PowerCut(rng)
			f = openFollower(t, disk)
		}
		err := f.Follow(2, Lineage{{1, 1}, {2, 4}}, 3)
		if !errors.Is(err, ErrDiverged) {
			t.Fatalf("seed %d: Follow = %v; want ErrDiverged", seed, err)
		}
		if st := f.State(); st.Applied != 8 || st.Epoch != 2 || st.Err != nil {
			t.Errorf("seed %d: the copy is %+v; want all in its image that was begun", seed, st)
		}
		if got := f.Changed(3); len(got) != 1 {
			t.Errorf("seed %d: chunks %v changed since LSN 3; want the one there is", seed, got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestVoidBatchesBearNoWitness cuts records whose batches say that others were durable, and
// lets the copy follow a leader for whom their epoch is in force again. What a power cut takes
// then, nobody has promised: it is no damage (V7).
func TestVoidBatchesBearNoWitness(t *testing.T) {
	for seed := range uint64(20) {
		disk := crashfs.New()
		f := newFollower(t, disk)
		appendAll(t, f, batchOf(1, 1, 11), batchOf(1, 2, 12), batchOf(1, 3, 13))
		if err := f.Follow(2, Lineage{{1, 1}, {2, 2}}, 1); err != nil {
			t.Fatal(err)
		}
		appendAll(t, f, batchOf(2, 2, 22))
		if err := f.Follow(3, Lineage{{1, 1}, {3, 4}}, 1); err != nil {
			t.Fatal(err)
		}
		if err := f.Append(batchOf(1, 2, 12)); err != nil { // and no Sync
			t.Fatal(err)
		}
		f, err := OpenFollower(disk.PowerCut(rand.New(rand.NewPCG(seed, 78))), testDir, followSmall)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if st := f.State(); st.Last != 1 && st.Last != 2 {
			t.Errorf("seed %d: the copy ends at LSN %d; want 1 or 2", seed, st.Last)
		}
	}
}
