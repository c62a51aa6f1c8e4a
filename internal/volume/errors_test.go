package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast/internal/crashfs"
)

// TestFailingDisk makes the disk fail at its n-th operation, for every n of a
// script of random work: once or from then on, with an input/output error or
// for want of space. Whatever was acknowledged must be there afterwards (V1, V6; G6).
func TestFailingDisk(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for _, forever := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/forever=%t", errno, forever), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(2) {
					for n, more := int(seed), true; more; n += share {
						more = failAt(t, seed, n, errno, forever)
					}
				}
			})
		}
	}
}

// failAt runs one script against a disk that fails at operation n. It reports
// whether the script got that far.
func failAt(t *testing.T, seed uint64, n int, errno syscall.Errno, forever bool) (failed bool) {
	disk := crashfs.New()
	makeSmall(t, disk)
	rng := rand.New(rand.NewPCG(seed, 4))
	w := worker{rng: rng}
	start := -1
	disk.FailWith(func(op int, _ string) error {
		if start < 0 {
			start = op
		}
		if op-start == n || forever && op-start > n {
			failed = true
			return errno
		}
		return nil
	})
	var err error
	if w.v, err = openSmall(disk, 1); err == nil {
		work(&w)
		if err := w.verifyOpen(); err != nil {
			t.Errorf("seed %d, operation %d: while open: %v", seed, n, err)
		}
	}
	disk.FailWith(nil)
	for range 4 {
		if _, err := w.reopenedUnder(disk.PowerCut(rng), 2); err != nil {
			t.Errorf("seed %d, operation %d: after a power cut: %v", seed, n, err)
		}
	}
	return failed
}

// work makes 50 steps, whatever the disk says of them.
func work(w *worker) {
	for range 50 {
		if err := w.step(); err != nil {
			w.cut(w.v.Stats().Last) // a write that failed at once is in no record
		}
	}
}

// verifyOpen holds an open volume against the model: a failed one still reads.
func (w *worker) verifyOpen() error {
	if last := w.v.Stats().Last; last != w.last {
		return fmt.Errorf("last LSN = %d; want %d", last, w.last)
	}
	return w.verify(w.v)
}

// TestFailedSyncIsForever breaks one sync and then lets the disk recover: the
// volume must not (V6).
func TestFailedSyncIsForever(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	v, err := openSmall(disk, 1)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, blockSize)
	if _, err := v.WriteAt(block, 0); err != nil {
		t.Fatal(err)
	}
	disk.FailWith(func(_ int, kind string) error {
		if kind == "sync" {
			return syscall.EIO
		}
		return nil
	})
	if err := v.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Flush on a failing disk = %v; want EIO", err)
	}
	disk.FailWith(nil)
	if err := v.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Flush on a disk that works again = %v; want EIO for ever", err)
	}
	if _, err := v.WriteAt(block, 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteAt after a failed sync = %v; want EIO for ever", err)
	}
	if _, err := v.ReadAt(block, 0); err != nil {
		t.Errorf("ReadAt after a failed sync = %v; want nil", err)
	}
}

// TestFullDiskRecovers fills the disk, sees writes refused and nothing lost, and
// makes room again: writes go on.
func TestFullDiskRecovers(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	w := worker{rng: rand.New(rand.NewPCG(1, 5))}
	var err error
	if w.v, err = openSmall(disk, 1); err != nil {
		t.Fatal(err)
	}
	full := true
	disk.FailWith(func(_ int, kind string) error {
		if full && kind == "create" { // neither a segment nor a descriptor
			return syscall.ENOSPC
		}
		return nil
	})
	for err == nil {
		err = w.write()
	}
	if !errors.Is(err, syscall.ENOSPC) || w.v.Err() != nil {
		t.Errorf("write on a full disk = %v, volume %v; want ENOSPC and a volume that is well", err, w.v.Err())
	}
	w.cut(w.v.Stats().Last)
	full = false
	if err := w.write(); err != nil {
		t.Errorf("write once there is room = %v; want nil", err)
	}
	if err := w.flush(); err != nil {
		t.Error(err)
	}
	if err := w.verifyOpen(); err != nil {
		t.Error(err)
	}
	if !w.v.Stats().FullSince.IsZero() {
		t.Error("the volume still says that the disk is full")
	}
}
