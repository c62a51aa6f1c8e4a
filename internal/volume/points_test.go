package volume

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

func TestPointsAreTheLastFlushesOfSeconds(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(10_000 + ms)).UTC() }
	var p points
	for i, ms := range []int{
		0: 0, 1: 400, 2: 999, // one second
		3: 1000, 4: 200, // a clock that is set back
		5: 5000,
	} {
		p.note(point{lsn: ballast.LSN(i + 1), time: at(ms)})
	}
	want := []point{{lsn: 3, time: at(999)}, {lsn: 5, time: at(1000)}, {lsn: 6, time: at(5000)}}
	if len(p.list) != len(want) {
		t.Fatalf("points = %v; want %v", p.list, want)
	}
	for i := range want {
		if p.list[i] != want[i] {
			t.Errorf("point %d = %v; want %v", i, p.list[i], want[i])
		}
	}
	p.forget(5)
	if len(p.list) != 1 || p.oldest() != at(5000) {
		t.Errorf("points after LSN 5 = %v; want the one at 6", p.list)
	}
	p.forget(6)
	p.note(point{lsn: 7, time: at(0)})
	if p.oldest() != at(5000) {
		t.Errorf("with no point left, time ran back to %v", p.oldest())
	}
}

// TestOpenedPointStays flushes in the second in which the volume was opened: the
// point ends another epoch than the flush does.
func TestOpenedPointStays(t *testing.T) {
	var p points
	p.note(point{lsn: 1, time: time.Unix(10, 0), opened: true})
	p.note(point{lsn: 2, time: time.Unix(10, 1)})
	p.note(point{lsn: 3, time: time.Unix(10, 2)})
	if len(p.list) != 2 || p.list[0].lsn != 1 || p.list[1].lsn != 3 {
		t.Errorf("points = %v; want those at 1 and 3", p.list)
	}
}

// TestPointsAreBounded flushes in more seconds than there is room for.
func TestPointsAreBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 13))
	var p points
	now := time.Unix(1000, 0)
	for lsn := ballast.LSN(1); lsn < 10*maxPoints; lsn++ {
		now = now.Add(time.Duration(1+rng.IntN(3)) * time.Second)
		p.note(point{lsn: lsn, time: now})
		n := len(p.list)
		if n > maxPoints || p.list[n-1].lsn != lsn || n > 1 && p.list[n-2].lsn != lsn-1 {
			t.Fatalf("after LSN %d: %d points, the last %v", lsn, n, p.list[n-1])
		}
	}
	for i := 1; i < len(p.list); i++ {
		if a, b := p.list[i-1], p.list[i]; a.lsn >= b.lsn || !a.time.Before(b.time) {
			t.Errorf("point %v stands before %v", a, b)
		}
	}
}
