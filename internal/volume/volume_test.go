package volume

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

// TestDamageIsReported flips one bit of every batch header and of every record
// in a log that was flushed, one at a time: Open must refuse each (V7).
func TestDamageIsReported(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	w := worker{rng: rand.New(rand.NewPCG(1, 6))}
	var err error
	if w.v, err = openSmall(disk, 1); err != nil {
		t.Fatal(err)
	}
	for w.v.Stats().LogBytes < 5*small.Segment {
		if err := errors.Join(w.write(), w.flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.v.Close(); err != nil {
		t.Fatal(err)
	}
	for name, offset := range everyBlock(t, disk) {
		copied := disk.PowerCut(w.rng) // all is synced, so this is a copy
		flipBit(t, copied, name, offset)
		_, err := openSmall(copied, 2)
		if damage := (*CorruptError)(nil); !errors.As(err, &damage) {
			t.Errorf("Open with a bit of %s flipped at %d = %v; want a CorruptError", name, offset, err)
		}
		if rep, err := Check(copied, testDir); err != nil || len(rep.Damage) == 0 {
			t.Errorf("Check with a bit of %s flipped at %d found nothing (%v)", name, offset, err)
		}
	}
}

// everyBlock yields the offset of a byte in every block of the log that means
// something.
func everyBlock(t *testing.T, disk *crashfs.FS) func(func(string, int64) bool) {
	d, err := loadDescriptor(disk, testDir)
	if err != nil {
		t.Fatal(err)
	}
	segs, err := openSegments(disk, testDir, d)
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(string, int64) bool) {
		r := &recovery{desc: d, visit: func(*batchHeader, record) {}}
		if err := r.read(segs); err != nil {
			t.Fatal(err)
		}
		for _, s := range r.segs {
			if err := r.load(s); err != nil {
				t.Fatal(err)
			}
			for off := uint64(1); off < s.blocks; {
				h, ok := decodeBatchHeader(r.buf[off*blockSize:], d.Salt, s.at(off))
				if !ok {
					break
				}
				for i := range h.blocks() {
					if !yield(s.name, int64(off+i)*blockSize+40) {
						return
					}
				}
				off += h.blocks()
			}
		}
	}
}

func flipBit(t *testing.T, fsys vfs.FS, name string, offset int64) {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// TestEpochMustGrow attacks V5 (G3).
func TestEpochMustGrow(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	v, err := openSmall(disk, 5)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, epoch := range []ballast.Epoch{0, 4, 5} {
		if _, err := openSmall(disk, epoch); !errors.Is(err, ErrStaleEpoch) {
			t.Errorf("Open under %v after e5 = %v; want ErrStaleEpoch", epoch, err)
		}
	}
	if _, err := openSmall(disk, 6); err != nil {
		t.Errorf("Open under e6 after e5 = %v; want nil", err)
	}
}

func TestRange(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	v, err := openSmall(disk, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range [][2]int64{{-blockSize, blockSize}, {1, blockSize}, {0, 100}, {testSize, blockSize}, {testSize - blockSize, 2 * blockSize}} {
		if _, err := v.WriteAt(make([]byte, at[1]), at[0]); !errors.Is(err, ErrRange) {
			t.Errorf("WriteAt %d+%d = %v; want ErrRange", at[0], at[1], err)
		}
		if _, err := v.ReadAt(make([]byte, at[1]), at[0]); !errors.Is(err, ErrRange) {
			t.Errorf("ReadAt %d+%d = %v; want ErrRange", at[0], at[1], err)
		}
		if err := v.Discard(at[0], at[1]); !errors.Is(err, ErrRange) {
			t.Errorf("Discard %d+%d = %v; want ErrRange", at[0], at[1], err)
		}
	}
}

// TestResize grows a volume, with a power cut before every operation.
func TestResize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	disk := crashfs.New()
	makeSmall(t, disk)
	w := worker{rng: rng}
	var err error
	if w.v, err = openSmall(disk, 1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.write(), w.flush()); err != nil {
		t.Fatal(err)
	}
	disk.BeforeEach(func(int) {
		v, err := w.reopened(disk.PowerCut(rng))
		if err != nil {
			t.Error(err)
		} else if v.Size() != testSize && v.Size() != 3*testSize {
			t.Errorf("size after a power cut = %d; want the old or the new one", v.Size())
		}
	})
	if err := w.v.Resize(3 * testSize); err != nil {
		t.Fatal(err)
	}
	v, err := w.reopened(disk.PowerCut(rng))
	if err != nil {
		t.Fatal(err)
	}
	if v.Size() != 3*testSize {
		t.Errorf("size = %d; want %d", v.Size(), 3*testSize)
	}
	if _, err := v.WriteAt(make([]byte, blockSize), 3*testSize-blockSize); err != nil {
		t.Errorf("write to the new part = %v", err)
	}
	if err := v.Resize(testSize); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("Resize to less = %v; want ErrInvalid", err)
	}
}

// TestConcurrentUse lets writers, each with blocks of its own, and readers loose
// on a volume that folds all the time. A reader must find what its writer wrote.
func TestConcurrentUse(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	v, err := openSmall(disk, 1)
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
		workers.Go(func() { hammer(t, v, i, 500) })
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

// hammer writes, reads, discards and flushes blocks i*32 … i*32+31.
func hammer(t *testing.T, v *Volume, i, steps int) {
	hammerFrom(t, v, i, steps, [32]uint64{})
}

// hammerFrom is hammer on blocks that are of these versions to begin with.
func hammerFrom(t *testing.T, v *Volume, i, steps int, tags [32]uint64) {
	rng := rand.New(rand.NewPCG(uint64(i), 8))
	got, want := make([]byte, blockSize), make([]byte, blockSize)
	for step := range steps {
		n := rng.IntN(32)
		block := i*32 + n
		var err error
		switch rng.IntN(6) {
		case 0, 1, 2:
			tags[n] = uint64(i+1)<<32 | uint64(step)
			paint(got, tags[n], block)
			_, err = v.WriteAt(got, int64(block)*blockSize)
			v.Written()
		case 3:
			tags[n] = 0
			err = v.Discard(int64(block)*blockSize, blockSize)
		case 4:
			err = v.Flush()
		default:
			paint(want, tags[n], block)
			if _, err = v.ReadAt(got, int64(block)*blockSize); err == nil && string(got) != string(want) {
				err = fmt.Errorf("block %d is not version %d", block, tags[n])
			}
		}
		if err != nil {
			t.Errorf("worker %d, step %d: %v", i, step, err)
			return
		}
	}
}

// The order of operations is a promise, so it is written down where a missing
// sync shows up in review as a changed line.
func ExampleVolume_Flush() {
	disk := crashfs.New()
	_ = disk.Mkdir("v")
	d := small
	_ = create(disk, "v", &d, func(*chunks) {})
	v, err := openSmall(disk, 1)
	if err != nil {
		panic(err)
	}
	block := make([]byte, blockSize)
	_, _ = v.WriteAt(block, 0) // makes the first segment
	_ = v.Flush()
	disk.KeepTrace()
	_, _ = v.WriteAt(block, 0)
	_, _ = v.WriteAt(block, 8*blockSize)
	_ = v.Flush()
	_ = v.Discard(0, blockSize)
	v.applying.Lock()
	_ = v.round(fullSpeed)
	for _, op := range disk.Trace() {
		fmt.Println(op)
	}
	// Output:
	// write v/log/00000.log @12288+12288
	// sync v/log/00000.log
	// write v/log/00000.log @24576+4096
	// sync v/log/00000.log
	// write v/chunks @0+4096
	// sync v/chunks
	// punch v/image @0+4096
	// write v/image @32768+4096
	// sync v/image
	// remove v/volume.json.next
	// create v/volume.json.next
	// write v/volume.json.next @0+159
	// sync v/volume.json.next
	// rename v/volume.json.next v/volume.json
	// syncdir v
}

// TestCheckFindsWhatIsMissing takes away one file at a time.
func TestCheckFindsWhatIsMissing(t *testing.T) {
	for _, name := range []string{imageName, chunksName} {
		disk := crashfs.New()
		makeSmall(t, disk)
		if err := disk.Remove(testDir + "/" + name); err != nil {
			t.Fatal(err)
		}
		if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) == 0 {
			t.Errorf("Check without %s = %v, %v; want damage", name, rep.Damage, err)
		}
	}
}
