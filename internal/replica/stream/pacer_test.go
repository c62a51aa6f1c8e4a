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
