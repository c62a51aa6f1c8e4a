package stream

import (
	"testing"
	"time"
)

// TestGivesWayWhileItGains: a copy that comes no closer to who works would never arrive, so
// it gives way no more, for a while.
func TestGivesWayWhileItGains(t *testing.T) {
	var g gain
	for _, step := range []struct {
		at   time.Duration
		lag  int64
		want bool
	}{
		{1 * time.Second, 1000, true},
		{1500 * time.Millisecond, 2000, true}, // a moment says nothing
		{2 * time.Second, 900, true},
		{3 * time.Second, 900, false},
		{4 * time.Second, 500, false}, // it gains because it does not give way
		{12 * time.Second, 400, false},
		{13 * time.Second, 300, true},
		{14 * time.Second, 301, false},
	} {
		if got := g.gives(step.at, step.lag); got != step.want {
			t.Errorf("at %v with a lag of %d it gives way: %t; want %t", step.at, step.lag, got, step.want)
		}
	}
}

// TestDrag: writers rest more and more while a copy does not gain on them, within bounds,
// and no more once it does.
func TestDrag(t *testing.T) {
	var d drag
	now, lag := time.Second, int64(1)<<40
	look := func(by int64) time.Duration {
		now, lag = now+gainEvery, lag+by
		d.look(now, lag, mostDrag)
		return d.per
	}
	if got := look(0); got != 0 {
		t.Errorf("at first writers rest for %v a MiB", got)
	}
	last := time.Duration(0)
	for range 10 {
		got := look(1)
		if got < leastDrag || got > mostDrag || got <= last && got != mostDrag {
			t.Errorf("after %v a MiB, and no gain, writers rest for %v", last, got)
		}
		last = got
	}
	if got := look(-lag / 8); got != last {
		t.Errorf("with some gain writers rest for %v; want %v", got, last)
	}
	for range 30 {
		look(-lag / 3)
	}
	if d.per != 0 {
		t.Errorf("writers rest for %v a MiB while the copy gains", d.per)
	}
}
