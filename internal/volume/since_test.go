package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/delta"
)

const endless = 1 << 40 // bytes of queue

// follower is an archive: it lays one delta over the other, and holds what
// comes of it against the model.
type follower struct {
	at     ballast.LSN
	tags   [testBlocks]uint64
	reigns Lineage
	points map[ballast.LSN]bool // where a flush ended
	gaps   int
}

// opened notes what the volume says of itself when it was just opened.
func (f *follower) opened(v *Volume) error {
	s := v.Stats()
	if s.Last < f.at {
		return fmt.Errorf("opened at LSN %d, the archive has %d", s.Last, f.at)
	}
	if n := len(f.reigns); n > 0 && f.reigns[n-1].From == s.Last+1 {
		f.reigns = f.reigns[:n-1]
	}
	f.reigns = append(f.reigns, Reign{s.Epoch, s.Last + 1})
	f.note(v)
	return nil
}

func (f *follower) note(v *Volume) {
	if f.points == nil {
		f.points = map[ballast.LSN]bool{}
	}
	f.points[v.Stats().Durable] = true
}

// follow asks once. It reports whether there was something.
func (f *follower) follow(w *worker, limit int64) (more bool, err error) {
	recycled := w.v.Stats().Recycled
	d, err := w.v.Since(f.at, limit)
	if err == nil && recycled > f.at {
		err = fmt.Errorf("the log has records after %d, and says that it has none up to %d", f.at, recycled)
	}
	if errors.Is(err, ErrRecycled) {
		if w.v.Stats().Recycled <= f.at {
			err = fmt.Errorf("the log lacks records after LSN %d, and does not say which: %w", f.at, err)
			return false, err
		}
		f.rebase(w)
		return false, nil
	}
	if err != nil || d == nil {
		if durable := w.v.Stats().Durable; err == nil && f.at != durable {
			err = fmt.Errorf("nothing after LSN %d; the volume is durable up to %d", f.at, durable)
		}
		return false, err
	}
	if err := d.Validate(); err != nil || d.After != f.at || d.Volume != w.v.ID() || d.Last() > w.v.Stats().Durable {
		return false, fmt.Errorf("asked after LSN %d: delta of %q after %d: %w", f.at, d.Volume, d.After, err)
	}
	for i := range d.Groups {
		if err := f.lay(&d.Groups[i], d.Epoch, &w.model); err != nil {
			return false, fmt.Errorf("group %d of the delta after LSN %d: %w", i, d.After, err)
		}
	}
	return true, nil
}

// rebase is what a base snapshot does for an archive with a gap.
func (f *follower) rebase(w *worker) {
	f.gaps++
	f.at = w.v.Stats().Durable
	for b := range f.tags {
		f.tags[b] = w.at(b, f.at)
	}
}

// lay puts a group over what there is.
func (f *follower) lay(g *delta.Group, epoch ballast.Epoch, m *model) error {
	for _, lsn := range []ballast.LSN{f.at + 1, g.Last} {
		if want := f.reigns.epochAt(lsn); epoch != want {
			return fmt.Errorf("record %d is of %v; want %v", lsn, epoch, want)
		}
	}
	if g.Last <= f.at || g.Size != testSize || g.IsPoint() && !f.points[g.Last] {
		return fmt.Errorf("ends at LSN %d after %d, size %d, point: %t; flushes there: %t", g.Last, f.at, g.Size, g.IsPoint(), f.points[g.Last])
	}
	f.at = g.Last
	data := g.Data
	for _, r := range g.Runs {
		for b := r.First; b < end(r); b++ {
			f.tags[b] = 0
			if !r.Zero {
				f.tags[b], data = tagOf(data[:blockSize], int(b)), data[blockSize:]
			}
		}
	}
	for b, tag := range f.tags {
		if want := m.at(b, f.at); tag != want {
			return fmt.Errorf("block %d at LSN %d is version %d; want %d", b, f.at, tag, want)
		}
	}
	return nil
}

// tagOf returns the tag that a block was painted with, or one that no block has.
func tagOf(p []byte, block int) uint64 {
	tag := binary.LittleEndian.Uint64(p)
	want := make([]byte, blockSize)
	paint(want, tag, block)
	if string(p) != string(want) {
		return 1<<64 - 1
	}
	return tag
}

func (f *follower) clone() *follower {
	c := *f
	c.reigns = append(Lineage(nil), f.reigns...)
	c.points = map[ballast.LSN]bool{}
	for lsn := range f.points {
		c.points[lsn] = true
	}
	return &c
}

// catchUp follows until there is nothing more.
func (f *follower) catchUp(w *worker) error {
	for {
		if more, err := f.follow(w, 1<<40); err != nil || !more {
			return err
		}
	}
}

// chaser lets an archive follow a volume through random work, reopenings and
// cuts of the power.
type chaser struct {
	worker
	follower
	disk *crashfs.FS
	now  time.Time
}

func newChaser(t *testing.T, seed, stream uint64, queue int64) *chaser {
	c := &chaser{disk: crashfs.New(), now: time.Unix(1000, 0)}
	c.rng, c.queue = rand.New(rand.NewPCG(seed, stream)), queue
	makeSmall(t, c.disk)
	if err := c.open(1, queue); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *chaser) open(epoch ballast.Epoch, queue int64) (err error) {
	c.v, err = Open(c.disk, testDir, Options{
		Epoch: epoch, LogCapacity: 6 * small.Segment, Queue: queue,
		Now: func() time.Time { return c.now },
	})
	if err != nil {
		return err
	}
	last := c.v.Stats().Last
	c.cut(last)
	c.acked = last
	return c.opened(c.v)
}

// turn does one thing, with the volume or with the archive.
func (c *chaser) turn() error {
	c.now = c.now.Add(time.Duration(c.rng.IntN(700)-100) * time.Millisecond) // also backwards
	switch n := c.rng.IntN(100); {
	case n < 80:
		err := c.step()
		c.note(c.v)
		return err
	case n < 95:
		_, err := c.follow(&c.worker, int64(1+c.rng.IntN(40))*blockSize)
		return err
	case n < 98:
		c.v.Archived(ballast.LSN(c.rng.Uint64N(uint64(c.at) + 1)))
		return nil
	case n < 99:
		if err := c.v.Close(); err != nil {
			return err
		}
		return c.open(c.epoch()+1, c.queue)
	default:
		c.disk = c.disk.PowerCut(c.rng)
		return c.open(c.epoch()+1, c.queue)
	}
}

// TestSince holds what an archive makes of the deltas against the volume, at
// every group's end, through random work, reopenings and power cuts.
func TestSince(t *testing.T) {
	for _, queue := range []int64{endless, 4 * small.Segment, small.Segment, 0} {
		t.Run(fmt.Sprintf("queue=%d", queue), func(t *testing.T) {
			t.Parallel()
			gaps := 0
			for seed := range uint64(20 / share) {
				c := newChaser(t, seed, 11, queue)
				for n := range 600 {
					if err := c.turn(); err != nil {
						t.Fatalf("seed %d, turn %d: %v", seed, n, err)
					}
					if held := c.v.Stats().QueueBytes; held > queue {
						t.Fatalf("seed %d, turn %d: the queue has %d bytes", seed, n, held)
					}
				}
				if err := c.catchUp(&c.worker); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				gaps += c.gaps
			}
			if (gaps > 0) != (queue < endless) {
				t.Errorf("%d gaps", gaps)
			}
		})
	}
}

// TestSinceAfterPowerCut cuts the power before every operation of random work,
// and lets a copy of the archive go on with what is left.
func TestSinceAfterPowerCut(t *testing.T) {
	for _, queue := range []int64{endless, 2 * small.Segment} {
		for seed := range uint64(5 / share) {
			t.Run(fmt.Sprintf("queue=%d,seed=%d", queue, seed), func(t *testing.T) {
				t.Parallel()
				c := newChaser(t, seed, 12, queue)
				for n := range 200 {
					c.disk.BeforeEach(func(op int) {
						if err := c.goOn(); err != nil {
							t.Errorf("turn %d, cut before operation %d: %v", n, op, err)
						}
					})
					if err := c.turn(); err != nil || t.Failed() {
						t.Fatalf("turn %d: %v", n, err)
					}
				}
				if (c.gaps > 0) && queue == endless {
					t.Errorf("%d gaps", c.gaps)
				}
			})
		}
	}
}

// goOn lets copies of archive and model go on with what a power cut left.
func (c *chaser) goOn() error {
	v, err := c.reopenedUnder(c.disk.PowerCut(c.rng), c.epoch()+2) // an opening may be under way
	if err != nil {
		return err
	}
	archive, w := c.clone(), worker{model: c.model, v: v}
	if err := archive.opened(v); err != nil {
		return err
	}
	if err := archive.catchUp(&w); err != nil {
		return err
	}
	if archive.gaps > c.gaps && c.queue == endless {
		return ErrRecycled
	}
	return nil
}
