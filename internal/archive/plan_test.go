package archive

import (
	"errors"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// clock returns a moment so many seconds after noon.
func clock(seconds int) time.Time {
	return time.Date(2026, 11, 21, 12, 0, seconds, 0, time.UTC)
}

// sketch draws a history: bases at LSNs, objects as {first, last}. The point of LSN
// n is at n seconds; an object has one every ten records, and one at its end.
func sketch(begins bool, head ballast.LSN, bases []ballast.LSN, objects ...[2]ballast.LSN) *History {
	point := func(lsn ballast.LSN) tail.Point {
		return tail.Point{Time: clock(int(lsn)), LSN: lsn, Epoch: 1, Size: 1 << 30}
	}
	h := &History{Volume: "v", Name: "db", head: head}
	if begins {
		h.begin = &beginning{point: point(0)}
	}
	for i, lsn := range bases {
		h.Bases = append(h.Bases, Base{Snapshot: repository.ID{byte(i + 1)}, Volume: "v", Point: point(lsn), Tags: []string{"before"}})
	}
	for _, o := range objects {
		object := object{Object: Object{Epoch: 1, First: o[0], Last: o[1]}}
		for lsn := o[0]; lsn <= o[1]; lsn++ {
			if lsn%10 == 0 || lsn == o[1] {
				object.points = append(object.points, point(lsn))
			}
		}
		h.objects = append(h.objects, object)
	}
	h.judge()
	return h
}

// H1: a point is found with all that it needs, or not at all.
func TestPlan(t *testing.T) {
	lsn := func(n ...ballast.LSN) []ballast.LSN { return n }
	whole := sketch(true, 60, lsn(20), [2]ballast.LSN{1, 15}, [2]ballast.LSN{16, 40}, [2]ballast.LSN{41, 60})
	hole := sketch(true, 90, lsn(70), [2]ballast.LSN{1, 20}, [2]ballast.LSN{41, 60}, [2]ballast.LSN{61, 90})
	short := sketch(true, 60, nil, [2]ballast.LSN{1, 20}, [2]ballast.LSN{21, 40})
	thinned := sketch(true, 60, lsn(10, 30, 50), [2]ballast.LSN{45, 60})
	late := sketch(false, 60, nil, [2]ballast.LSN{21, 60})
	cut := sketch(false, 60, lsn(33), [2]ballast.LSN{21, 60})
	const newest = -1
	for _, tt := range []struct {
		name    string
		history *History
		at      int // seconds
		base    ballast.LSN
		objects int
		point   ballast.LSN
	}{
		{"newest", whole, newest, 20, 2, 60},
		{"later than all", whole, 999, 20, 2, 60},
		{"on a point", whole, 30, 20, 1, 30},
		{"between points", whole, 39, 20, 1, 30},
		{"on a base", whole, 20, 20, 0, 20},
		{"before the first base", whole, 15, 0, 1, 15},
		{"the beginning", whole, 0, 0, 0, 0},
		{"before a hole, on a point", hole, 20, 0, 1, 20},
		{"behind a hole, after a base", hole, 85, 70, 1, 80},
		{"on the base behind a hole", hole, 70, 70, 0, 70},
		{"before the end that is missing, on a point", short, 40, 0, 2, 40},
		{"before the end that is missing, within", short, 39, 0, 2, 30},
		{"thinned: on a base", thinned, 30, 30, 0, 30},
		{"thinned: in the tail", thinned, 65, 50, 1, 60},
		{"object that begins before the base", cut, 40, 33, 1, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			when := When{}
			if tt.at != newest {
				when.Time = clock(tt.at)
			}
			p, err := tt.history.Plan(when)
			if err != nil {
				t.Fatal(err)
			}
			base, objects := ballast.LSN(0), 0
			if p.Base != nil {
				base = p.Base.Point.LSN
			}
			for _, l := range p.Layers {
				objects += len(l.Objects)
			}
			if base != tt.base || objects != tt.objects || p.Point.LSN != tt.point {
				t.Errorf("plan has base %d, %d objects, point %d; want %d, %d, %d", base, objects, p.Point.LSN, tt.base, tt.objects, tt.point)
			}
		})
	}
	for _, tt := range []struct {
		name        string
		history     *History
		at          int
		first, last ballast.LSN // missing
		good, next  ballast.LSN // 0: none
	}{
		{"in a hole", hole, 30, 21, 40, 20, 70},
		{"behind a hole, without a base", hole, 50, 21, 40, 20, 70},
		{"newest, and the end is missing", short, newest, 41, 60, 40, 0},
		{"later than all, and the end is missing", short, 50, 41, 60, 40, 0},
		{"between bases", thinned, 40, 31, 44, 30, 50},
		{"nothing to begin with", late, 40, 1, 20, 0, 0},
		{"before the base", cut, 30, 1, 20, 0, 33},
	} {
		t.Run(tt.name, func(t *testing.T) {
			when := When{}
			if tt.at != newest {
				when.Time = clock(tt.at)
			}
			p, err := tt.history.Plan(when)
			var gap *GapError
			if !errors.As(err, &gap) {
				t.Fatalf("plan = %+v, %v; want a gap", p, err)
			}
			if gap.First != tt.first || gap.Last != tt.last || lsnOf(gap.Good) != tt.good || lsnOf(gap.Next) != tt.next {
				t.Errorf("%v: missing %d to %d, good %d, next %d; want %d to %d, %d, %d",
					err, gap.First, gap.Last, lsnOf(gap.Good), lsnOf(gap.Next), tt.first, tt.last, tt.good, tt.next)
			}
			if gap.Good == nil {
				return
			}
			if again, err := tt.history.Plan(When{Time: gap.Good.Time}); err != nil || again.Point != *gap.Good {
				t.Errorf("the good point leads to %+v, %v", again, err)
			}
		})
	}
}

func lsnOf(p *tail.Point) ballast.LSN {
	if p == nil {
		return 0
	}
	return p.LSN
}

func TestPlanOfSnapshot(t *testing.T) {
	h := sketch(true, 60, []ballast.LSN{20, 40}, [2]ballast.LSN{1, 60})
	for _, tt := range []struct {
		name string
		want ballast.LSN // 0: refused
	}{
		{"before", 40}, // of two with one tag the newer
		{h.Bases[0].Snapshot.String(), 20},
		{h.Bases[0].Snapshot.String()[:8], 20},
		{"01", 0}, // too short to be sure
		{"after", 0},
	} {
		p, err := h.Plan(When{Snapshot: tt.name})
		if tt.want == 0 {
			if !errors.Is(err, ballast.ErrNotFound) {
				t.Errorf("plan of %q = %+v, %v", tt.name, p, err)
			}
			continue
		}
		if err != nil || p.Point.LSN != tt.want {
			t.Errorf("plan of %q = %+v, %v; want LSN %d", tt.name, p, err, tt.want)
		}
	}
}

func TestPlanBeforeHistory(t *testing.T) {
	if p, err := sketch(false, 60, []ballast.LSN{20}, [2]ballast.LSN{21, 60}).Plan(When{Time: clock(5)}); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("plan = %+v, %v; want that it is not there", p, err)
	}
}

func TestWindows(t *testing.T) {
	h := sketch(true, 95, []ballast.LSN{10, 30, 70}, [2]ballast.LSN{45, 60}, [2]ballast.LSN{61, 80}, [2]ballast.LSN{81, 90})
	got := h.Windows()
	if len(got) != 1 || !got[0].From.Equal(clock(70)) || !got[0].Until.Equal(clock(90)) {
		t.Errorf("windows = %v", got)
	}
	if p, ok := h.Newest(); !ok || p.LSN != 90 {
		t.Errorf("newest = %+v, %t", p, ok)
	}
}
