package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// porter is a [Shipper] whose copies have a record when the test says so.
type porter struct {
	asked chan ballast.LSN // every Committed says what it waits for
	say   chan error       // and is told

	mu      sync.Mutex // guards everything below
	events  []string
	batches []Batch
}

func newPorter() *porter {
	return &porter{asked: make(chan ballast.LSN), say: make(chan error)}
}

func (p *porter) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, fmt.Sprintf(format, args...))
}

func (p *porter) Ship(b Batch) {
	p.note("ship %d-%d of %v", b.First, b.Last(), b.Epoch)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches = append(p.batches, clone(b))
}

func (p *porter) Flush(lsn ballast.LSN) { p.note("flush %d", lsn) }

func (p *porter) Durable(lsn ballast.LSN) { p.note("durable %d", lsn) }

func (p *porter) Committed(lsn ballast.LSN) error {
	p.note("committed %d", lsn)
	p.asked <- lsn
	return <-p.say
}

func (p *porter) took() (events []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	events, p.events = p.events, nil
	return events
}

func openShipping(t *testing.T, disk *crashfs.FS, epoch ballast.Epoch, p Shipper) *Volume {
	t.Helper()
	v, err := Open(disk, testDir, Options{Epoch: epoch, LogCapacity: 6 * small.Segment, Shipper: p})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func writeBlock(t *testing.T, v *Volume, block int) {
	t.Helper()
	if _, err := v.WriteAt(make([]byte, blockSize), int64(block)*blockSize); err != nil {
		t.Fatal(err)
	}
}

// later runs do and says when it has returned.
func later(do func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	return done
}

// TestFlushShips writes down the order of a flush: the other copies have a batch before
// this disk does, and nobody waits for them before it is here as well.
func TestFlushShips(t *testing.T) {
	disk, p := crashfs.New(), newPorter()
	makeSmall(t, disk)
	v := openShipping(t, disk, 1, p)
	writeBlock(t, v, 1)
	writeBlock(t, v, 2)
	p.took()
	disk.FailWith(func(_ int, kind string) error { p.note("%s", kind); return nil })
	done := later(v.Flush)
	<-p.asked
	p.say <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := []string{"ship 1-2 of e1", "flush 2", "write", "write", "sync", "durable 2", "committed 2"}
	if got := p.took(); !slices.Equal(got, want) {
		t.Errorf("a flush does %q; want %q", got, want)
	}
	if err := v.Flush(); err != nil || len(p.took()) > 0 {
		t.Errorf("a flush of what is committed = %v; want nil, and nothing done", err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// TestFlushesPipeline lets one flush wait for the other copies, and wants the next ones to be
// on their way meanwhile. Each is answered when its own records are committed (R1).
func TestFlushesPipeline(t *testing.T) {
	disk, p := crashfs.New(), newPorter()
	makeSmall(t, disk)
	v := openShipping(t, disk, 1, p)
	var flushes []<-chan error
	for n := range 3 {
		writeBlock(t, v, n)
		flushes = append(flushes, later(v.Flush))
		if lsn := <-p.asked; lsn != ballast.LSN(n+1) {
			t.Fatalf("flush %d waits for LSN %d", n, lsn)
		}
	}
	if s := v.Stats(); s.Durable != 3 || s.Committed != 0 {
		t.Errorf("durable = %d, committed = %d; want 3 and 0", s.Durable, s.Committed)
	}
	for _, done := range flushes {
		select {
		case err := <-done:
			t.Fatalf("a flush returned (%v) before anybody had its records", err)
		default:
		}
	}
	for range flushes {
		p.say <- nil
	}
	for _, done := range flushes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if s := v.Stats(); s.Committed != 3 {
		t.Errorf("committed = %d; want 3", s.Committed)
	}
}

// TestFoldWaitsForCommitted wants nothing in the image that is not committed, be it
// written in this opening or found by it (V3).
func TestFoldWaitsForCommitted(t *testing.T) {
	for _, found := range []bool{false, true} {
		t.Run(fmt.Sprintf("found=%t", found), func(t *testing.T) {
			disk, p := crashfs.New(), newPorter()
			makeSmall(t, disk)
			v := openShipping(t, disk, 1, p)
			writeBlock(t, v, 7)
			if found {
				flushed := later(v.Flush)
				<-p.asked // and never hears
				disk = disk.PowerCut(rand.New(rand.NewPCG(1, 23)))
				p.say <- errors.New("gone")
				if err := <-flushed; err == nil {
					t.Error("a flush that was never committed returned nil")
				}
				p = newPorter()
				v = openShipping(t, disk, 2, p)
				if got, want := p.took(), []string{"flush 1", "durable 1"}; !slices.Equal(got, want) {
					t.Errorf("Open told the shipper %q; want %q", got, want)
				}
			}
			disk.KeepTrace()
			folded := later(func() error { return foldNow(v) })
			if lsn := <-p.asked; lsn != 1 {
				t.Errorf("folding waits for LSN %d; want 1", lsn)
			}
			for _, op := range disk.Trace() {
				if strings.Contains(op, imageName) {
					t.Errorf("before it is committed: %s", op)
				}
			}
			if s := v.Stats(); s.Committed != 0 || s.Applied != 0 {
				t.Errorf("committed = %d, applied = %d; want none", s.Committed, s.Applied)
			}
			p.say <- nil
			if err := <-folded; err != nil {
				t.Fatal(err)
			}
			if s := v.Stats(); s.Committed != 1 || s.Applied != 1 {
				t.Errorf("committed = %d, applied = %d; want 1", s.Committed, s.Applied)
			}
		})
	}
}

// TestFencedVolume tells a flush that its records will never be committed: the volume
// accepts nothing more, goes on reading, and folds nothing (V3, V6).
func TestFencedVolume(t *testing.T) {
	disk, p := crashfs.New(), newPorter()
	makeSmall(t, disk)
	v := openShipping(t, disk, 1, p)
	writeBlock(t, v, 7)
	fenced := errors.New("another node leads")
	done := later(v.Flush)
	<-p.asked
	p.say <- fenced
	if err := <-done; !errors.Is(err, fenced) {
		t.Errorf("Flush = %v; want the shipper's error", err)
	}
	if _, err := v.WriteAt(make([]byte, blockSize), 0); !errors.Is(err, fenced) {
		t.Errorf("WriteAt = %v; want the shipper's error", err)
	}
	if err := v.Flush(); !errors.Is(err, fenced) {
		t.Errorf("Flush = %v; want the shipper's error for ever", err)
	}
	err := foldNow(v)
	if !errors.Is(err, fenced) || v.Stats().Applied != 0 {
		t.Errorf("folding = %v, applied = %d; want nothing folded", err, v.Stats().Applied)
	}
	if _, err := v.ReadAt(make([]byte, blockSize), 0); err != nil {
		t.Errorf("ReadAt = %v", err)
	}
	if err := v.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// TestShippedIsWhatIsRead holds what a shipper is told against what [Volume.ReadLog] reads
// afterwards, whatever the pieces.
func TestShippedIsWhatIsRead(t *testing.T) {
	disk, p := crashfs.New(), newPorter()
	makeSmall(t, disk)
	go func() {
		for range p.asked {
			p.say <- nil
		}
	}()
	defer close(p.asked)
	rng := rand.New(rand.NewPCG(testSeed(t), 24))
	v, err := Open(disk, testDir, Options{Epoch: 1, LogCapacity: 6 * small.Segment, Queue: endless, Shipper: p})
	if err != nil {
		t.Fatal(err)
	}
	w := worker{rng: rng, v: v}
	for range 400 {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	last, durable, _ := v.Position()
	if last != durable || last != p.batches[len(p.batches)-1].Last() {
		t.Fatalf("last = %d, durable = %d, shipped up to %d", last, durable, p.batches[len(p.batches)-1].Last())
	}
	want := flat(p.batches)
	for _, limit := range []int64{0, blockSize, 30 * blockSize, 1 << 30} {
		for _, from := range []ballast.LSN{0, last / 3, last - 1} {
			var got []Batch
			for at := from; at < last; at = got[len(got)-1].Last() {
				some, err := v.ReadLog(at, limit)
				if err != nil || len(some) == 0 || some[0].First != at+1 {
					t.Fatalf("ReadLog(%d, %d) = %d batches, %v", at, limit, len(some), err)
				}
				got = append(got, some...)
			}
			if !slices.Equal(flat(got), want[from:]) {
				t.Errorf("from %d on in pieces of %d, other records are read than were shipped", from, limit)
			}
		}
	}
	if some, err := v.ReadLog(last, 1); some != nil || err != nil {
		t.Errorf("ReadLog at the end = %v, %v; want nothing", some, err)
	}
	if _, err := v.ReadLog(last+1, 1); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("ReadLog beyond the end = %v; want ErrInvalid", err)
	}
}

// flat describes records one by one.
func flat(batches []Batch) (all []string) {
	for _, b := range batches {
		data := b.Data
		for i, r := range b.Records {
			n := r.record().dataBlocks() * blockSize
			all = append(all, fmt.Sprint(b.Epoch, b.First+ballast.LSN(i), r, dataSum(data[:n])))
			data = data[n:]
		}
	}
	return all
}

// TestReadLogConcurrently lets several readers, each at its own place, read a log that is
// written to and folded.
func TestReadLogConcurrently(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	v, err := openQueue(disk, 1, endless)
	if err != nil {
		t.Fatal(err)
	}
	const flushes = 1500
	var readers sync.WaitGroup
	for n := range 3 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 25))
			for at := ballast.LSN(0); at < flushes; {
				batches, err := v.ReadLog(at, int64(rng.IntN(40))*blockSize)
				if err != nil {
					t.Errorf("ReadLog(%d): %v", at, err)
					return
				}
				for _, b := range batches {
					if b.First != at+1 || tagOf(b.Data[:blockSize], int(b.Records[0].Block)) != uint64(b.First) {
						t.Errorf("after %d comes %d with version %d", at, b.First, tagOf(b.Data[:blockSize], int(b.Records[0].Block)))
						return
					}
					at = b.Last()
				}
			}
		})
	}
	w := worker{rng: rand.New(rand.NewPCG(1, 26)), v: v}
	for n := range flushes {
		p, block := make([]byte, blockSize), n%testBlocks
		paint(p, uint64(n+1), block)
		if _, err := v.WriteAt(p, int64(block)*blockSize); err != nil {
			t.Fatal(err)
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}

// TestKeep has several readers: the log keeps what the slowest of them lacks, within its
// bound, and nothing once all have it (V4).
func TestKeep(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	w := worker{rng: rand.New(rand.NewPCG(1, 27)), queue: 20 * small.Segment}
	var err error
	if w.v, err = openQueue(disk, 1, w.queue); err != nil {
		t.Fatal(err)
	}
	v := w.v
	v.Forget(ArchiveReader)
	v.Keep("n1", 0)
	v.Keep("n2", 0)
	fillQueue(t, &w, 8)
	recycled := func(what string, want bool) {
		t.Helper()
		if _, err := v.ReadLog(0, 1); errors.Is(err, ErrRecycled) != want {
			t.Errorf("%s: ReadLog = %v, want recycled: %t", what, err, want)
		}
	}
	recycled("two readers have nothing", false)
	v.Keep("n1", w.last)
	recycled("one reader has all", false)
	v.Keep("n2", v.log.held[3].first-1)
	recycled("the other has something", true)
	if got := len(v.log.held); got < 4 {
		t.Errorf("%d segments are held; want those that one reader lacks", got)
	}
	v.Keep("n2", w.last+100) // it cannot have that
	if got := v.Stats().QueueBytes; got != 0 {
		t.Errorf("all have all, and %d bytes are held", got)
	}
	v.Keep("n2", v.Stats().Durable)
	fillQueue(t, &w, 3)
	v.Forget("n2")
	if got := v.Stats().QueueBytes; got == 0 {
		t.Error("nothing is held, and n1 lacks it")
	}
	for v.Stats().Recycled < w.last/2 || v.Stats().QueueBytes < w.queue {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
		if got := v.Stats().QueueBytes; got > w.queue {
			t.Fatalf("%d bytes are held, the bound is %d", got, w.queue)
		}
	}
	v.Forget("n1")
	if got := v.Stats().QueueBytes; got != 0 {
		t.Errorf("nobody reads, and %d bytes are held", got)
	}
	if err := w.verifyOpen(); err != nil {
		t.Error(err)
	}
}

// TestSpare: for a reader that is there and reads, the log keeps more than its bound, up to
// what the image takes, and no longer than it is there.
func TestSpare(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	w := worker{rng: rand.New(rand.NewPCG(1, 28))}
	var err error
	if w.v, err = openQueue(disk, 1, w.queue); err != nil {
		t.Fatal(err)
	}
	v := w.v
	v.Forget(ArchiveReader)
	for v.Stats().Recycled == 0 || v.Stats().ImageBytes < 4*small.Segment {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.Stats().QueueBytes; got != 0 {
		t.Fatalf("%d bytes are held, and there is no queue", got)
	}
	most := v.Stats().ImageBytes
	from := v.Stats().Durable
	v.Keep("n1", from)
	v.Spare("n1", true)
	if got := v.Pressure(from); got != 0 {
		t.Errorf("nothing is held, and %.2f of the room is taken", got)
	}
	last := 0.0
	for v.Stats().QueueBytes < most-2*small.Segment {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
		got := v.Pressure(from)
		if want := float64(v.Stats().QueueBytes) / float64(most); got < last || got > want {
			t.Fatalf("%.2f of the room is taken by what n1 needs, after %.2f; %.2f is taken by all", got, last, want)
		}
		last = got
	}
	if got := v.Pressure(v.Stats().Durable); last < 0.5 || got > last/2 {
		t.Errorf("%.2f of the room is taken by what n1 needs, %.2f by what is behind the last record", last, got)
	}
	if _, err := v.ReadLog(from, 1); err != nil {
		t.Errorf("read what is kept for a reader that is there: %v", err)
	}
	for v.Stats().Recycled <= from {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
		if got := v.Stats().QueueBytes; got > most {
			t.Fatalf("%d bytes are held; the image took %d", got, most)
		}
	}
	v.Spare("n1", false)
	if got := v.Stats().QueueBytes; got != 0 {
		t.Errorf("%d bytes are held for a reader that is gone", got)
	}
	if err := w.verifyOpen(); err != nil {
		t.Error(err)
	}
}
