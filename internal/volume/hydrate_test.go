package volume

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// TestRunHydrates lets Run bring a volume home, in order, while nobody asks for
// anything. After that it needs no source, and can be snapshot: all of it, even
// when nothing was ever written (V8).
func TestRunHydrates(t *testing.T) {
	for _, lsn := range []ballast.LSN{0, hollowLSN} {
		synctest.Test(t, func(t *testing.T) {
			disk := crashfs.New()
			rng := rand.New(rand.NewPCG(3, 35))
			s, o := hollowSheet(t, disk, rng, 20, lsn)
			v, err := openHollow(disk, 8, slow{o, time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Snapshot(t.Context(), 0); !errors.Is(err, ballast.ErrNotReady) {
				t.Errorf("Snapshot of a hollow volume = %v; want ErrNotReady", err)
			}
			missing := v.hydration.lacking(nil, extent{0, ballast.Block(s.blocks())})
			runUntil(t, v, func() bool { return v.Stats().MissingChunks == 0 && len(v.hydration.arrivals()) == 0 })
			if !isAlmostSorted(o.fetched) || !slices.Equal(slices.Sorted(slices.Values(o.fetched)), missing) {
				t.Errorf("fetched %v; want %v, once each and in order", o.fetched, missing)
			}
			if v, err = openHollow(disk.PowerCut(rng), 9, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.verify(v); err != nil {
				t.Error(err)
			}
			var pic picture
			snap, err := v.Snapshot(t.Context(), 0)
			for done := false; err == nil && !done; {
				done, err = pic.lay(snap)
			}
			if err = errors.Join(err, s.compare(pic.p, lsn)); err != nil {
				t.Errorf("snapshot of a volume that was hollow: %v", err)
			}
			if want := ballast.Epoch(hollowEpoch); lsn > 0 && snap.Info().Epoch != want {
				t.Errorf("the snapshot's epoch = %v; want %v, which wrote it", snap.Info().Epoch, want)
			}
		})
	}
}

// isAlmostSorted allows for two that are fetched at a time.
func isAlmostSorted(chunks []int) bool {
	for i := 2; i < len(chunks); i++ {
		if chunks[i] < chunks[i-2] {
			return false
		}
	}
	return true
}

// runUntil lets Run work until a condition holds. It must hold in a bubble's hour.
func runUntil(t *testing.T, v *Volume, done func() bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := v.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for range 3600 {
		if done() {
			break
		}
		time.Sleep(time.Second) // of the bubble
	}
	if !done() {
		t.Error("Run did not do what it should")
	}
	stop()
	running.Wait()
}

// TestFoldWaitsForSource fills the log while the source is away: writers are
// refused only then, nothing is lost, and all goes on when it is back (V9).
func TestFoldWaitsForSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		rng := rand.New(rand.NewPCG(2, 37))
		s, o := hollowSheet(t, disk, rng, sheetChunks, hollowLSN)
		o.fail = func(int) error { return errAway }
		var err error
		if s.v, err = openHollow(disk, 8, o); err != nil {
			t.Fatal(err)
		}
		for n := 0; err == nil; n++ {
			if n == 2000 { // which a log of six segments has no room for
				t.Fatalf("%d writes later the log is not full: what it lacks the rest of was folded, and the rest is lost", n)
			}
			err = s.write()
		}
		s.cut(s.v.Stats().Last)
		if st := s.v.Stats(); !errors.Is(err, ErrMissing) || st.Err != nil || st.LogBytes < 6*small.Segment {
			t.Errorf("write = %v with %d bytes of log, volume %v; want ErrMissing once the log is full", err, st.LogBytes, st.Err)
		}
		if err := s.flush(); err != nil {
			t.Errorf("Flush while the source is away = %v; want nil", err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := s.v.Run(ctx); err != nil {
			t.Errorf("Run while the source is away = %v; want nil", err)
		}
		o.failWith(nil)
		if err := s.write(); err != nil {
			t.Errorf("write once the source is back = %v; want nil", err)
		}
		if err := errors.Join(s.fold(t.Context()), s.flush(), s.verify(s.v)); err != nil {
			t.Error(err)
		}
		v, err := openHollow(disk.PowerCut(rng), 9, o)
		if err == nil {
			err = s.verify(v)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// TestConcurrentHydration lets readers and writers loose on a volume that
// hydrates and folds, from a source that fails at times.
func TestConcurrentHydration(t *testing.T) {
	disk := crashfs.New()
	rng := rand.New(rand.NewPCG(5, 38))
	s, o := hollowSheet(t, disk, rng, sheetChunks, hollowLSN)
	failures := rand.New(rand.NewPCG(5, 39))
	o.fail = func(int) error { // called under o's lock
		if failures.IntN(3) == 0 {
			return errAway
		}
		return nil
	}
	v, err := Open(disk, testDir, Options{Epoch: 8, LogCapacity: 6 * small.Segment, Source: o})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var background, workers sync.WaitGroup
	background.Go(func() {
		if err := v.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for i := range 8 {
		stripe := i * 4
		var tags [32]uint64
		for n := range tags {
			tags[n] = versionAt(s.versions[stripe*32+n], s.last)
		}
		workers.Go(func() { hammerFrom(t, v, stripe, 300, tags) })
	}
	workers.Wait()
	stop()
	background.Wait()
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 {
		t.Errorf("check: %v %v", err, rep.Damage)
	}
}
