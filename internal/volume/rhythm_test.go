package volume

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast/internal/crashfs"
)

// TestRhythm says of writes and flushes before which flushes one is expected: "w" is a write, "f" a flush,
// "!" stands where the next thing to come is sure to be a flush.
func TestRhythm(t *testing.T) {
	for name, want := range map[string]string{
		"one write each":          "wf wf wf wf wf w!f w!f",
		"two and one in turn":     "wf wwf wf wwf wf wwf wf wwf wf ww!f w!f ww!f",
		"a flush of nothing":      "wf wf wf f wf wf f w!f w!f",
		"one more than expected":  "wf wf wf wf wf w!wf wf wf wf wf wf w!f",
		"more than a rhythm has":  "wwwwwf wwwwwf wwwwwf wwwwwf wwwwwf wwwwwf wwwwwf",
		"writes without any":      "wwwwwwwwwwwwwwwwwwww",
		"nothing but flushes":     "ffffffff",
		"as it comes, seldom so":  "wf wwf wwf wf wf wf wwf wf wwwf wwf wwwf wf wf wwf",
		"none is due before some": "",
	} {
		t.Run(name, func(t *testing.T) {
			var r rhythm
			var got []byte
			for _, c := range []byte(want) {
				switch c {
				case 'w':
					r.write()
				case 'f':
					r.flush()
				case '!':
					continue
				}
				if got = append(got, c); c == 'w' && r.isDue() {
					got = append(got, '!')
				}
			}
			if string(got) != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// TestFlushAhead begins a flush that is due as soon as the write was answered: the flush itself finds
// everything on this disk, and waits for the other copies.
func TestFlushAhead(t *testing.T) {
	disk, p := crashfs.New(), newPorter()
	makeSmall(t, disk)
	v := openShipping(t, disk, 1, p)
	flush := func() {
		t.Helper()
		done := later(v.Flush)
		<-p.asked
		p.say <- nil
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for i := range rhythmSure + 1 {
		writeBlock(t, v, i)
		v.Written()
		flush()
	}
	p.took()
	writeBlock(t, v, 1)
	v.Written()
	if got, want := p.took(), []string{"ship 6-6 of e1", "flush 6", "durable 6"}; !slices.Equal(got, want) {
		t.Errorf("once a flush is due, what is done after a write is %q; want %q", got, want)
	}
	flush()
	if got, want := p.took(), []string{"committed 6"}; !slices.Equal(got, want) {
		t.Errorf("the flush then does %q; want %q", got, want)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	v.Written() // of a volume that is closed: nothing
}

// TestFlushAheadFails keeps V6: a sync that failed ahead of the flush is not told to the writer, who
// has his answer, but to the flush and to all that come later.
func TestFlushAheadFails(t *testing.T) {
	disk := crashfs.New()
	makeSmall(t, disk)
	v, err := openSmall(disk, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rhythmSure + 1 {
		writeBlock(t, v, i)
		v.Written()
		if err := v.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	disk.FailWith(func(_ int, kind string) error {
		if kind == "sync" {
			return syscall.EIO
		}
		return nil
	})
	writeBlock(t, v, 0)
	v.Written()
	disk.FailWith(nil)
	for range 2 {
		if err := v.Flush(); err == nil {
			t.Error("a flush after a sync that failed = nil")
		}
	}
	_ = v.Close() // it has said what it had to
}

// TestPowerCutFlushedAhead cuts the power of a volume whose flushes are begun ahead (V1, V2).
func TestPowerCutFlushedAhead(t *testing.T) {
	for seed := range uint64(4) {
		c := &cutter{t: t, rng: rand.New(rand.NewPCG(seed, 7))}
		c.disk = crashfs.New()
		makeSmall(t, c.disk)
		c.w.rng = c.rng
		c.open()
		ahead := 0
		for range 40 {
			if err := c.w.write(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if c.w.v.rhythm.isDue() {
				ahead++
			}
			c.w.v.Written()
			if c.rng.IntN(8) == 0 {
				continue // not in the rhythm
			}
			if err := c.w.flush(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if c.rng.IntN(20) == 0 {
				c.crash()
			}
		}
		if ahead == 0 {
			t.Errorf("seed %d: no flush was begun ahead", seed)
		}
	}
}
