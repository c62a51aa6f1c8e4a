package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

// TestPowerCutWhileHydrating reads, writes, discards, grows, folds and fetches at
// random, from a source that fails at random, and cuts the power before the
// operations of all that (V2, V8, V9). Now and then the cut is real.
func TestPowerCutWhileHydrating(t *testing.T) {
	seeds, cuts := uint64(sheetSeeds), 120/share
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
		synctest.Test(t, func(t *testing.T) { arriveLate(t, seed) })
	}
}

func arriveLate(t *testing.T, seed uint64) {
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
