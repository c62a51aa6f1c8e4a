package volume

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

// fillQueue works until the queue has n segments.
func fillQueue(t *testing.T, w *worker, n int64) {
	t.Helper()
	for w.v.Stats().QueueBytes < n*small.Segment {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
}

// narrow is a disk with a fault: no segment can be made, and nothing written to
// the image, unless a segment was removed since.
type narrow struct {
	vfs.FS
	full      bool
	imageFull bool
	removed   int
}

func (n *narrow) Create(name string) (vfs.File, error) {
	if n.full && strings.HasSuffix(name, ".log") {
		return nil, syscall.ENOSPC
	}
	return n.FS.Create(name)
}

func (n *narrow) Remove(name string) error {
	if strings.HasSuffix(name, ".log") {
		n.removed++
		n.imageFull = false
	}
	return n.FS.Remove(name)
}

func (n *narrow) Open(name string) (vfs.File, error) {
	f, err := n.FS.Open(name)
	if strings.HasSuffix(name, imageName) {
		f = narrowImage{f, n}
	}
	return f, err
}

type narrowImage struct {
	vfs.File
	disk *narrow
}

func (f narrowImage) WriteAt(p []byte, off int64) (int, error) {
	if f.disk.imageFull {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(p, off)
}

// TestQueueGivesWay writes to a full disk: no writer may wait while the log
// keeps anything for the archive. (A stall would fail at once: the limit is 0.)
func TestQueueGivesWay(t *testing.T) {
	disk := &narrow{FS: crashfs.New()}
	makeSmall(t, disk)
	w := worker{rng: rand.New(rand.NewPCG(1, 14)), queue: endless}
	var err error
	if w.v, err = openQueue(disk, 1, w.queue); err != nil {
		t.Fatal(err)
	}
	fillQueue(t, &w, 12)
	disk.full = true
	for range 2000 {
		disk.imageFull = disk.removed < 3
		if err := w.step(); err != nil {
			t.Fatalf("with %d bytes in the queue: %v", w.v.Stats().QueueBytes, err)
		}
	}
	if s := w.v.Stats(); s.Recycled <= s.Archived || disk.removed < 3 {
		t.Errorf("recycled up to LSN %d of %d archived, %d segments removed; want a gap, and room made for the image", s.Recycled, s.Archived, disk.removed)
	}
	if _, err := w.v.Since(0, 1); !errors.Is(err, ErrRecycled) {
		t.Errorf("Since(0) = %v; want ErrRecycled", err)
	}
	if err := w.verifyOpen(); err != nil {
		t.Error(err)
	}
}

// TestArchivedLetsGo tells the log what is archived, one record at a time: a
// segment stays until the last of its records is (V4).
func TestArchivedLetsGo(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	w := worker{rng: rand.New(rand.NewPCG(1, 15)), queue: endless}
	var err error
	if w.v, err = openQueue(disk, 1, w.queue); err != nil {
		t.Fatal(err)
	}
	fillQueue(t, &w, 8)
	before := w.v.Stats().Waiting
	for lsn := ballast.LSN(1); lsn <= w.last; lsn++ {
		w.v.Archived(lsn)
		s := w.v.Stats()
		if s.Waiting > before || (s.Waiting == 0) != s.QueueSince.IsZero() {
			t.Errorf("archived up to %d, %d bytes wait, %d before, the oldest since %v", lsn, s.Waiting, before, s.QueueSince)
		}
		before = s.Waiting
		if _, err := w.v.Since(lsn, 1); err != nil {
			t.Errorf("archived up to %d, Since = %v", lsn, err)
		}
	}
	if s := w.v.Stats(); s.QueueBytes != 0 || s.Recycled > s.Archived || !s.QueueSince.IsZero() || s.Archived != w.last {
		t.Errorf("all is archived, and Stats = %+v", s)
	}
	w.v.Archived(w.last + 100)
	if got := w.v.Stats().Archived; got != w.last {
		t.Errorf("archived = %d; the log ends at %d", got, w.last)
	}
	if _, err := w.v.Since(w.last+1, 1); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("Since beyond the log = %v; want ErrInvalid", err)
	}
}

// TestSinceNeverReadsDamage flips a bit of every block of the log, one at a
// time: what the archive gets is right, or the records are gone, or the volume is damaged.
func TestSinceNeverReadsDamage(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	w := worker{rng: rand.New(rand.NewPCG(1, 16)), queue: endless}
	var err error
	if w.v, err = openQueue(disk, 1, w.queue); err != nil {
		t.Fatal(err)
	}
	fillQueue(t, &w, 3)
	if err := w.v.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := disk.List(testDir + "/" + logDir)
	if err != nil {
		t.Fatal(err)
	}
	gone, damaged := 0, 0
	for _, name := range names {
		for block := range small.Segment / blockSize {
			w.v, err = openQueue(disk, w.v.Epoch()+1, w.queue)
			if err != nil {
				t.Fatal(err)
			}
			flipBit(t, disk, testDir+"/"+logDir+"/"+name, block*blockSize+40)
			f := follower{reigns: Lineage{{1, 1}}, points: map[ballast.LSN]bool{w.last: true}}
			err := f.catchUp(&w)
			if damage := (*CorruptError)(nil); errors.As(err, &damage) {
				damaged++
			} else if err != nil {
				t.Errorf("with a bit of block %d of %s flipped: %v", block, name, err)
			}
			gone += f.gaps
			flipBit(t, disk, testDir+"/"+logDir+"/"+name, block*blockSize+40)
			if err := w.v.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if gone == 0 || damaged == 0 {
		t.Errorf("%d times the records were gone, %d times damaged; want some of both", gone, damaged)
	}
}

// TestSinceWhileWriting follows a volume that is written to, folded and pressed
// for room all the time; what comes of it must be what the volume holds.
func TestSinceWhileWriting(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	v, err := openQueue(disk, 1, 8*small.Segment)
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
	a := rawArchive{v: v, image: make([]byte, testSize)}
	background.Go(func() {
		for ctx.Err() == nil {
			if err := a.follow(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 8 {
		workers.Go(func() { hammer(t, v, i, 500) })
	}
	workers.Wait()
	stop()
	background.Wait()
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	for a.at < v.Stats().Durable {
		if err := a.follow(); err != nil {
			t.Fatal(err)
		}
	}
	want := make([]byte, testSize)
	if _, err := v.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	for b := range testBlocks {
		if a.known(b) && string(a.image[b*blockSize:][:blockSize]) != string(want[b*blockSize:][:blockSize]) {
			t.Errorf("block %d differs", b)
		}
	}
	t.Logf("%d gaps", a.gaps)
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if _, err := v.Since(a.at, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Since on a closed volume = %v; want ErrClosed", err)
	}
}

// rawArchive follows a volume that nobody has a model of. After a gap it knows
// only the blocks that were written since.
type rawArchive struct {
	v     *Volume
	at    ballast.LSN
	image []byte
	since map[int]bool // written since the last gap; nil: there was none
	gaps  int
}

func (a *rawArchive) known(block int) bool { return a.since == nil || a.since[block] }

func (a *rawArchive) follow() error {
	d, err := a.v.Since(a.at, 20*blockSize)
	if errors.Is(err, ErrRecycled) {
		a.gaps++
		a.at, a.since = a.v.Stats().Durable, map[int]bool{}
		return nil
	}
	if err != nil || d == nil {
		return err
	}
	for _, g := range d.Groups {
		data := g.Data
		for _, r := range g.Runs {
			for b := int(r.First); b < int(end(r)); b++ {
				block := a.image[b*blockSize:][:blockSize]
				clear(block)
				if !r.Zero {
					copy(block, data)
					data = data[blockSize:]
				}
				if a.since != nil {
					a.since[b] = true
				}
			}
		}
	}
	a.at = d.Last()
	a.v.Archived(a.at)
	return nil
}

// TestSinceOfOldEpoch leaves a batch of a former epoch behind in a segment, where a
// record of the same LSN could stand, and wants it not to be taken for that.
func TestSinceOfOldEpoch(t *testing.T) {
	met := 0
	for seed := range uint64(50) {
		c := newChaser(t, seed, 17, endless)
		write := func(first, count int) {
			c.model.tags++
			p := make([]byte, count*blockSize)
			for i := range count {
				paint(p[i*blockSize:][:blockSize], c.model.tags, first+i)
			}
			c.record(c.model.tags, first, count)
			if _, err := c.v.WriteAt(p, int64(first)*blockSize); err != nil {
				t.Fatal(err)
			}
			c.v.mu.Lock()
			c.v.log.cutTail()
			c.v.mu.Unlock()
			if err := c.v.drain(); err != nil {
				t.Fatal(err)
			}
		}
		write(0, 1)
		write(1, 1)
		c.disk = c.disk.PowerCut(c.rng)
		if err := c.open(2, endless); err != nil {
			t.Fatal(err)
		}
		if c.last > 0 {
			continue // the first one was not lost
		}
		met++
		write(2, 1)
		write(3, c.v.maxRecord()/blockSize) // goes to the next segment
		if err := c.flush(); err != nil {
			t.Fatal(err)
		}
		c.note(c.v)
		if err := c.catchUp(&c.worker); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if met == 0 {
		t.Error("no power cut lost the first of two batches")
	}
}

// TestSinceOverAHole takes away a segment of the queue: what stood in it, and
// before, is gone, and what is behind it stays.
func TestSinceOverAHole(t *testing.T) {
	c := newChaser(t, 1, 18, endless)
	fillQueue(t, &c.worker, 4)
	third := c.v.log.held[2].first
	name := c.v.log.held[1].name
	if err := c.v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.disk.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := c.open(2, endless); err != nil {
		t.Fatal(err)
	}
	for after := ballast.LSN(0); after < c.v.Stats().Durable; {
		d, err := c.v.Since(after, 1)
		switch {
		case errors.Is(err, ErrRecycled) && after < third-1:
			after = c.v.Stats().Recycled
			if after != third-1 {
				t.Fatalf("recycled up to %d; want %d", after, third-1)
			}
		case err != nil:
			t.Fatal(err)
		default:
			after = d.Last()
		}
	}
	if held := c.v.Stats().QueueBytes; held < 2*small.Segment {
		t.Errorf("the queue has %d bytes; what was behind the hole is to stay", held)
	}
}
