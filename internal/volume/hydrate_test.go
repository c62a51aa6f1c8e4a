package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	hollowLSN   = 100
	hollowEpoch = 7
)

var errAway = errors.New("the archive is away")

// original is a source: the bytes that a volume had when it was made.
type original struct {
	p []byte

	mu      sync.Mutex // guards everything below
	fetched []int
	fail    func(chunk int) error
}

func (o *original) Fetch(ctx context.Context, chunk int, p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fetched = append(o.fetched, chunk)
	if o.fail != nil {
		if err := o.fail(chunk); err != nil {
			_ = copy(p, "half of what was asked for") // must not be taken for it
			return err
		}
	}
	copy(p, o.p[chunk*ballast.ChunkSize:])
	return ctx.Err()
}

func (o *original) failWith(fail func(chunk int) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = fail
}

// slow is a source that takes its time, or waits for ever.
type slow struct {
	Source
	delay time.Duration // 0: for ever
}

func (s slow) Fetch(ctx context.Context, chunk int, p []byte) error {
	if s.delay == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	if !wait(ctx, s.delay) {
		return ctx.Err()
	}
	return s.Source.Fetch(ctx, chunk, p)
}

// hollowSheet makes a hollow volume, of which some chunks are zeros, and its
// source.
func hollowSheet(t *testing.T, disk vfs.FS, rng *rand.Rand, chunks int, lsn ballast.LSN) (*sheet, *original) {
	t.Helper()
	s := newSheet(rng, chunks)
	s.sheetOf(lsn)
	o := &original{p: make([]byte, chunks*ballast.ChunkSize)}
	for b := range s.versions {
		paint(o.p[b*blockSize:(b+1)*blockSize], versionAt(s.versions[b], lsn), b)
	}
	d := small
	d.Size = int64(len(o.p))
	h := Hollow{ID: d.ID, Size: d.Size, LSN: lsn, Epoch: hollowEpoch, Present: func(chunk int) bool {
		return bytes.Equal(o.p[chunk*ballast.ChunkSize:(chunk+1)*ballast.ChunkSize], zeroChunk[:]) && chunk%2 == 0
	}}
	if err := errors.Join(disk.Mkdir(testDir), createHollow(disk, testDir, &d, h), disk.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	return s, o
}

// sheetOf fills the sheet with what a volume might hold: chunks of zeros, chunks
// with some blocks, and full ones.
func (s *sheet) sheetOf(lsn ballast.LSN) {
	s.last, s.acked = lsn, lsn
	for chunk := range s.blocks() / blocksPerChunk {
		every := []int{0, 1, 3}[s.rng.IntN(3)]
		for b := chunk * blocksPerChunk; every > 0 && b < (chunk+1)*blocksPerChunk; b += every {
			s.tags++
			s.versions[b] = []version{{lsn, s.tags}}
		}
	}
}

func openHollow(fsys vfs.FS, epoch ballast.Epoch, source Source) (*Volume, error) {
	return Open(fsys, testDir, Options{
		Epoch: epoch, LogCapacity: 6 * small.Segment,
		Source: source, FetchBudget: 100 * time.Millisecond, fetchers: 1, // in an order that a seed repeats
	})
}

// hydrater does random work on a hollow volume whose source fails now and then,
// and whose disk loses power.
type hydrater struct {
	*sheet
	source *original
	disk   *crashfs.FS
	cuts   int
}

func (h *hydrater) step(ctx context.Context) error {
	var err error
	switch h.rng.IntN(16) {
	case 0:
		err = h.v.keepArrived()
	case 1, 2:
		err = h.fetchOne(ctx)
	default:
		err = h.sheet.step(ctx)
	}
	if errors.Is(err, ErrMissing) || errors.Is(err, errAway) {
		h.cut(h.v.Stats().Last) // a write for which there was no room is in no record
		return h.v.Err()
	}
	return err
}

// fetchOne does what Run does in the background.
func (h *hydrater) fetchOne(ctx context.Context) error {
	f, why, _ := h.v.hydration.next(time.Now())
	if f == nil {
		return nil
	}
	err := h.v.fly(ctx, f)
	h.v.hydration.landed(why, err, time.Now())
	return err
}

// check opens what a power cut left, and wants all of it to be right: what was
// fetched, what was written over it, and what is still to come.
func (h *hydrater) check(after *crashfs.FS) error {
	rep, err := Check(after, testDir)
	if err != nil || len(rep.Damage) > 0 {
		return fmt.Errorf("check: %w %v", err, rep.Damage)
	}
	v, err := openHollow(after, h.v.Epoch()+1, &original{p: h.source.p})
	if err != nil {
		return err
	}
	if missing := v.Stats().MissingChunks; missing != rep.Missing {
		return fmt.Errorf("%d chunks are missing; Check says %d", missing, rep.Missing)
	}
	return h.verify(v)
}

func (h *hydrater) reopen(t *testing.T, epoch ballast.Epoch) {
	t.Helper()
	h.disk.BeforeEach(nil)
	v, err := openHollow(h.disk, epoch, h.source)
	if err != nil {
		t.Fatal(err)
	}
	h.v = v
	h.cut(v.Stats().Last)
	h.acked = h.last
	h.disk.BeforeEach(func(op int) {
		if h.rng.IntN(4) > 0 {
			return
		}
		h.cuts++
		if err := h.check(h.disk.PowerCut(h.rng)); err != nil {
			t.Errorf("cut %d, before operation %d: %v", h.cuts, op, err)
		}
	})
}

// TestPowerCutWhileHydrating reads, writes, discards, grows, folds and fetches at
// random, from a source that fails at random, and cuts the power before the
// operations of all that (V2, V8, V9). Now and then the cut is real.
func TestPowerCutWhileHydrating(t *testing.T) {
	seeds, cuts := uint64(sheetSeeds), 120
	if testing.Short() {
		seeds = min(seeds, 4)
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 30))
				disk := crashfs.New()
				s, o := hollowSheet(t, disk, rng, sheetChunks, hollowLSN)
				o.fail = func(int) error {
					if rng.IntN(2) == 0 {
						return errAway
					}
					return nil
				}
				h := &hydrater{sheet: s, source: o, disk: disk}
				h.reopen(t, hollowEpoch+1)
				for h.cuts < cuts && !t.Failed() {
					if err := h.step(t.Context()); err != nil {
						t.Fatalf("after %d cuts: %v", h.cuts, err)
					}
					if rng.IntN(40) == 0 {
						h.disk = h.disk.PowerCut(rng)
						h.reopen(t, h.v.Epoch()+1)
					}
				}
			})
		})
	}
}

// TestPowerCutWhileCreatingHollow cuts the power during CreateHollow: a second
// one must make the volume, or find it made.
func TestPowerCutWhileCreatingHollow(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 31))
		disk := crashfs.New()
		if err := errors.Join(disk.Mkdir(testDir), disk.SyncDir(".")); err != nil {
			t.Fatal(err)
		}
		hollow := Hollow{ID: "test", Size: 3 * ballast.ChunkSize, LSN: 5, Epoch: 2}
		disk.BeforeEach(func(op int) {
			after := disk.PowerCut(rng)
			if err := CreateHollow(after, testDir, hollow); err != nil && !errors.Is(err, ballast.ErrExists) {
				t.Errorf("seed %d, cut before operation %d: %v", seed, op, err)
			}
			if _, err := Open(after, testDir, Options{Epoch: 2}); !errors.Is(err, ErrStaleEpoch) {
				t.Errorf("seed %d, cut before operation %d: Open under the epoch of its bytes = %v; want ErrStaleEpoch", seed, op, err)
			}
			v, err := Open(after, testDir, Options{Epoch: 3})
			if err != nil || v.Stats().MissingChunks != 3 || v.Stats().Last != 5 {
				t.Errorf("seed %d, cut before operation %d: Open = %v; want 3 missing chunks", seed, op, err)
			}
		})
		if err := CreateHollow(disk, testDir, hollow); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFetchBudget: while the source is away, a read of what is missing fails
// after the budget, what is there is served, and when it is back so is all else.
func TestFetchBudget(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source func(*original) Source
	}{
		{"refuses", func(o *original) Source { return o }},
		{"hangs", func(*original) Source { return slow{} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := crashfs.New()
				s, o := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 32)), sheetChunks, hollowLSN)
				o.fail = func(int) error { return errAway }
				v, err := Open(disk, testDir, Options{Epoch: 8, Source: tt.source(o), FetchBudget: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				block := make([]byte, blockSize)
				paint(block, 9, 1)
				if _, err := v.WriteAt(block, blockSize); err != nil {
					t.Fatal(err)
				}
				chunk := s.someChunk()
				begin := time.Now()
				if _, err := v.ReadAt(block, int64(chunk)*ballast.ChunkSize+2*blockSize); !errors.Is(err, ErrMissing) || time.Since(begin) != time.Minute {
					t.Errorf("ReadAt of a missing chunk = %v after %v; want ErrMissing after a minute", err, time.Since(begin))
				}
				if st := v.Stats(); st.FetchErr == nil || st.FetchFailingSince.IsZero() || st.Err != nil {
					t.Errorf("stats = %+v; want a failing source and a volume that is well", st)
				}
				want := bytes.Clone(block)
				paint(want, 9, 1)
				if _, err := v.ReadAt(block, blockSize); err != nil || !bytes.Equal(block, want) {
					t.Errorf("ReadAt of what was written = %v; want nil", err)
				}
				o.failWith(nil)
				v.hydration.source = o
				s.record(9, 1, 1)
				if err := s.verify(v); err != nil {
					t.Errorf("once the source is back: %v", err)
				}
				if st := v.Stats(); st.FetchErr != nil || !st.FetchFailingSince.IsZero() || st.MissingChunks != 0 {
					t.Errorf("stats = %+v; want all to be here", st)
				}
			})
		})
	}
}

// someChunk returns a chunk that is not all zeros.
func (s *sheet) someChunk() int {
	return slices.IndexFunc(s.versions, func(vs []version) bool { return len(vs) > 0 }) / blocksPerChunk
}

// TestFetchIsShared: readers of one chunk wait for one fetch.
func TestFetchIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s, o := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 33)), sheetChunks, hollowLSN)
		v, err := Open(disk, testDir, Options{Epoch: 8, Source: slow{o, time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		chunk := s.someChunk()
		var readers sync.WaitGroup
		for i := range 20 {
			readers.Go(func() {
				b := chunk*blocksPerChunk + i
				got, want := make([]byte, blockSize), make([]byte, blockSize)
				paint(want, versionAt(s.versions[b], s.last), b)
				if _, err := v.ReadAt(got, int64(b)*blockSize); err != nil || !bytes.Equal(got, want) {
					t.Errorf("ReadAt of block %d = %v; want its bytes", b, err)
				}
			})
		}
		readers.Wait()
		if !slices.Equal(o.fetched, []int{chunk}) {
			t.Errorf("fetched %v; want chunk %d once", o.fetched, chunk)
		}
	})
}

// TestWriteDuringFetch writes a block, and replaces a whole chunk, while readers
// wait for the rest of it: what comes late must not overwrite what is newer.
func TestWriteDuringFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s, o := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 34)), sheetChunks, hollowLSN)
		var err error
		if s.v, err = Open(disk, testDir, Options{Epoch: 8, Source: slow{o, time.Second}}); err != nil {
			t.Fatal(err)
		}
		chunk := s.someChunk()
		var reader sync.WaitGroup
		read := make([]byte, blockSize)
		reader.Go(func() {
			if _, err := s.v.ReadAt(read, int64(chunk)*ballast.ChunkSize); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		s.record(0, chunk*blocksPerChunk, blocksPerChunk)
		if err := s.v.Discard(int64(chunk)*ballast.ChunkSize, ballast.ChunkSize); err != nil {
			t.Fatal(err)
		}
		if err := s.fold(t.Context()); err != nil {
			t.Fatal(err)
		}
		reader.Wait()
		if want := make([]byte, blockSize); !bytes.Equal(read, want) {
			t.Errorf("a read that waited = % x…; want what is there now", read[:16])
		}
		if err := errors.Join(s.verify(s.v), s.v.Close()); err != nil {
			t.Error(err)
		}
		if v, err := openHollow(disk, 9, o); err != nil || s.verify(v) != nil {
			t.Errorf("after it was opened again: %v", errors.Join(err, s.verify(v)))
		}
	})
}

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

// TestNoSource: what is missing cannot be read, and the error says so at once.
func TestNoSource(t *testing.T) {
	disk := crashfs.New()
	s, _ := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 36)), sheetChunks, hollowLSN)
	v, err := Open(disk, testDir, Options{Epoch: 8})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.ReadAt(make([]byte, blockSize), int64(s.someChunk())*ballast.ChunkSize); !errors.Is(err, ErrMissing) {
		t.Errorf("ReadAt of a missing chunk without a source = %v; want ErrMissing", err)
	}
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
		for err == nil {
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

// TestFailingDiskWhileHydrating makes the disk fail at its n-th operation, for
// every n of a script of random work on a hollow volume: what was fetched,
// written and acknowledged is right afterwards (V6, V8, V9; G6).
func TestFailingDiskWhileHydrating(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			for n, more := 0, true; more; n += sheetStride {
				synctest.Test(t, func(t *testing.T) { more = hydratingFailsAt(t, n, errno) })
			}
		})
	}
}

func hydratingFailsAt(t *testing.T, n int, errno syscall.Errno) (failed bool) {
	rng := rand.New(rand.NewPCG(uint64(n), 41))
	disk := crashfs.New()
	s, o := hollowSheet(t, disk, rng, sheetChunks, hollowLSN)
	h := &hydrater{sheet: s, source: o, disk: disk}
	var err error
	if h.v, err = openHollow(disk, hollowEpoch+1, o); err != nil {
		t.Fatal(err)
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
	for range 50 {
		if err := h.step(t.Context()); err != nil {
			h.cut(h.v.Stats().Last)
		}
	}
	disk.FailWith(nil)
	if err := h.verify(h.v); err != nil {
		t.Errorf("operation %d: while open: %v", n, err)
	}
	for range 2 {
		if err := h.check(disk.PowerCut(rng)); err != nil {
			t.Errorf("operation %d: after a power cut: %v", n, err)
		}
	}
	return failed
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

// TestFollow: a reader who goes on from chunk to chunk is read ahead of, more
// each time; one who jumps is not.
func TestFollow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reads [][2]int
		want  []int
	}{
		{"one chunk", [][2]int{{5, 5}, {5, 5}}, nil},
		{"jumps", [][2]int{{5, 5}, {9, 9}, {1, 1}}, nil},
		{"goes on", [][2]int{{5, 5}, {6, 6}, {7, 7}, {8, 8}}, []int{7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
		{"two at once", [][2]int{{5, 5}, {90, 90}, {6, 6}, {91, 91}}, []int{7, 8, 92, 93}},
		{"long reads", [][2]int{{5, 7}, {8, 10}}, []int{11, 12}},
		{"backwards", [][2]int{{5, 5}, {4, 4}, {3, 3}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s []stream
			var got []int
			for _, r := range tt.reads {
				var from, end int
				s, from, end = follow(s, r[0], r[1])
				for c := from; c < end; c++ {
					got = append(got, c)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("read ahead %v; want %v", got, tt.want)
			}
		})
	}
}

// TestBackgroundGivesWay: nothing is fetched in the background while a caller
// waits, nor faster than it may be, nor right after a failure.
func TestBackgroundGivesWay(t *testing.T) {
	now := time.Unix(1000, 0)
	c := &chunks{table: make([]uint64, 100)}
	h := &hydration{}
	h.init(c, Options{HydrateRate: ballast.ChunkSize, Source: slow{}})
	next := func(at time.Time) int {
		f, _, pause := h.next(at)
		if f == nil {
			if pause <= 0 {
				t.Error("there is nothing to fetch, and no pause")
			}
			return -1
		}
		h.land(f)
		return f.chunk
	}
	want := func(at time.Time, chunk int, why string) {
		t.Helper()
		if got := next(at); got != chunk {
			t.Errorf("next = %d; want %d: %s", got, chunk, why)
		}
	}
	want(now, 0, "the first one")
	want(now, -1, "one a second")
	now = now.Add(time.Second)
	h.attend(+1)
	want(now, -1, "somebody waits")
	h.attend(-1)
	want(now, 1, "nobody waits")
	now = now.Add(time.Second)
	want(now, -1, "two are on their way")
	h.readAt(50*ballast.ChunkSize, blockSize)
	h.readAt(51*ballast.ChunkSize, blockSize)
	want(now, 52, "it is next to what was read")
	want(now, 53, "so is this")
	h.landed(inBackground, errAway, now)
	want(now, -1, "the last one failed")
	want(now.Add(patience), 2, "that was a while ago")
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

// hooked is a disk that tells when the image was synced.
type hooked struct {
	vfs.FS
	synced func()
}

type hookedFile struct {
	vfs.File
	synced *func()
}

func (h *hooked) Open(name string) (vfs.File, error) {
	f, err := h.FS.Open(name)
	if name == testDir+"/"+imageName && err == nil {
		f = hookedFile{f, &h.synced}
	}
	return f, err
}

func (f hookedFile) Sync() error {
	err := f.File.Sync()
	if f.synced != nil && *f.synced != nil {
		(*f.synced)()
	}
	return err
}

// TestPowerCutAfterLateArrival installs a chunk right after the image was synced,
// and cuts the power after the table was written: it must not have that chunk (V8).
func TestPowerCutAfterLateArrival(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 40))
		disk := crashfs.New()
		s, o := hollowSheet(t, disk, rng, sheetChunks, hollowLSN)
		tapped := &hooked{FS: disk}
		v, err := openHollow(tapped, 8, o)
		if err != nil {
			t.Fatal(err)
		}
		fetch := func(chunk int) {
			if err := v.obtain(t.Context(), chunk); err != nil {
				t.Fatal(err)
			}
		}
		tapped.synced = func() {
			for chunk := 1; chunk < sheetChunks; chunk++ {
				fetch(chunk)
			}
		}
		fetch(0)
		if err := v.keepArrived(); err != nil {
			t.Fatal(err)
		}
		after, err := openHollow(disk.PowerCut(rng), 9, o)
		if err == nil {
			err = s.verify(after)
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
