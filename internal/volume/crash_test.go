package volume

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// TestPowerCut cuts the power before every operation of random work, and asks
// of what is left that it opens, is a prefix of what was written, holds all
// that was acknowledged (V1, V2; G1, G2) and passes [Check]. Now and then the cut is
// real: the work goes on with what it left, so that histories of many
// crashes are tried as well.
func TestPowerCut(t *testing.T) {
	const runs = 50
	cuts := powerCuts
	if testing.Short() {
		cuts /= 10
	}
	for run := range uint64(runs) {
		t.Run(fmt.Sprintf("seed=%d", run), func(t *testing.T) {
			t.Parallel()
			c := &cutter{t: t, rng: rand.New(rand.NewPCG(run, 1))}
			c.w.queue = int64(run%2) * 3 * small.Segment // every other run keeps some of the log for the archive
			c.run(cuts / runs)
		})
	}
}

// cutter cuts the power of a disk that a worker uses.
type cutter struct {
	t    *testing.T
	rng  *rand.Rand
	w    worker
	disk *crashfs.FS
	cuts int
}

func (c *cutter) run(cuts int) {
	c.disk = crashfs.New()
	makeSmall(c.t, c.disk)
	c.w.rng = c.rng
	c.open()
	for c.cuts < cuts && !c.t.Failed() {
		if err := c.w.step(); err != nil {
			c.t.Fatalf("after %d cuts: %v", c.cuts, err)
		}
		if c.rng.IntN(60) == 0 {
			c.crash()
		}
	}
}

// open opens the disk, with a cut before each of its operations from now on.
func (c *cutter) open() {
	epoch := c.w.epoch() + 1
	c.disk.BeforeEach(nil)
	v, err := openQueue(c.disk, epoch, c.w.queue)
	if err != nil {
		c.t.Fatalf("after %d cuts: %v", c.cuts, err)
	}
	c.w.v = v
	c.disk.BeforeEach(c.cut)
}

func (c *cutter) cut(int) {
	c.cuts++
	after := c.disk.PowerCut(c.rng)
	rep, err := Check(after, testDir)
	if err != nil || len(rep.Damage) > 0 {
		c.t.Errorf("cut %d: check: %v %v", c.cuts, err, rep.Damage)
	}
	if _, err := c.w.reopened(after); err != nil {
		c.t.Errorf("cut %d: %v", c.cuts, err)
	}
}

// crash goes on with what a power cut left. What was in doubt is settled then:
// no later crash may bring it back.
func (c *cutter) crash() {
	c.disk = c.disk.PowerCut(c.rng)
	c.open()
	last := c.w.v.Stats().Last
	c.w.cut(last)
	c.w.acked = last
}

func (w *worker) epoch() ballast.Epoch {
	if w.v == nil {
		return 0
	}
	return w.v.Epoch()
}

// TestPowerCutWhileOpening cuts the power during recovery itself.
func TestPowerCutWhileOpening(t *testing.T) {
	for seed := range uint64(200 / share) {
		rng := rand.New(rand.NewPCG(seed, 2))
		disk := crashfs.New()
		makeSmall(t, disk)
		w := worker{rng: rng}
		var err error
		if w.v, err = openSmall(disk, 1); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			if err := w.step(); err != nil {
				t.Fatal(err)
			}
		}
		left := disk.PowerCut(rng)
		left.BeforeEach(func(op int) {
			if _, err := w.reopenedUnder(left.PowerCut(rng), 3); err != nil {
				t.Errorf("seed %d, cut before operation %d of the recovery: %v", seed, op, err)
			}
		})
		if _, err := w.reopenedUnder(left, 2); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestPowerCutWhileCreating cuts the power during Create: a second Create must
// make the volume, or find it made.
func TestPowerCutWhileCreating(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		disk := crashfs.New()
		if err := disk.Mkdir(testDir); err != nil {
			t.Fatal(err)
		}
		if err := disk.SyncDir("."); err != nil {
			t.Fatal(err)
		}
		disk.BeforeEach(func(op int) {
			after := disk.PowerCut(rng)
			if _, err := ReadIdentity(after, testDir); err != nil {
				d := small
				if err := create(after, testDir, &d, func(*chunks) {}); err != nil {
					t.Errorf("seed %d, cut before operation %d: %v", seed, op, err)
				}
			}
			if _, err := openSmall(after, 1); err != nil {
				t.Errorf("seed %d, cut before operation %d: %v", seed, op, err)
			}
		})
		d := small
		if err := create(disk, testDir, &d, func(*chunks) {}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerCutOfOldEpoch loses one of two unsynced batches, writes another of
// the same shape in its place, and wants the second one, which may still stand
// behind it, to stay cut off.
func TestPowerCutOfOldEpoch(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 10))
		disk := crashfs.New()
		makeSmall(t, disk)
		w := worker{rng: rng}
		oneBatch := func(tag uint64) {
			p := make([]byte, blockSize)
			paint(p, tag, 0)
			w.record(tag, 0, 1)
			if _, err := w.v.WriteAt(p, 0); err != nil {
				t.Fatal(err)
			}
			w.v.mu.Lock()
			w.v.log.cutTail()
			w.v.mu.Unlock()
			if err := w.v.drain(); err != nil {
				t.Fatal(err)
			}
		}
		reopen := func(epoch ballast.Epoch) {
			disk = disk.PowerCut(rng)
			v, err := openSmall(disk, epoch)
			if err != nil {
				t.Fatal(err)
			}
			w.v = v
			w.cut(v.Stats().Last)
		}
		reopen(1)
		oneBatch(1)
		oneBatch(2)
		reopen(2)
		oneBatch(3)
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.reopenedUnder(disk, 3); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
