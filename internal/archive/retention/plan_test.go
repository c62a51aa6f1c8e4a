package retention

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

var today = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func policy(t testing.TB, text string) Policy {
	t.Helper()
	p, err := ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ExamplePolicy_Plan() {
	var h History
	for i, base := range []struct {
		age  time.Duration
		tags []string
	}{{50 * day, nil}, {40 * day, []string{"before-upgrade"}}, {3*day + 2*time.Hour, nil}, {3 * day, nil}, {30 * time.Hour, nil}, {26 * time.Hour, nil}, {3 * time.Hour, nil}} {
		lsn := ballast.LSN(100 * (i + 1))
		h.Bases = append(h.Bases, Base{ID: fmt.Sprintf("base%d", i), LSN: lsn, Time: today.Add(-base.age), Tags: base.tags})
		h.Tail = append(h.Tail, Extent{First: lsn + 1, Last: lsn + 100, From: today.Add(-base.age + time.Hour), Until: today.Add(-base.age + 2*time.Hour)})
	}
	h.Tail[6].Until = today
	h.Pins = []Pin{{LSN: 150, Who: "volume test-db, which is a clone"}}
	p, _ := ParsePolicy("any second for 24h, daily 30d")
	for _, step := range p.Plan(h, today) {
		fmt.Println(step)
	}
	// Output:
	// keep   base base0, LSN 100 of 2026-10-02 12:00:00: needed by volume test-db, which is a clone
	// keep   tail, LSN 101 to 200 of 2026-10-02 13:00:00: needed by volume test-db, which is a clone
	// keep   base base1, LSN 200 of 2026-10-12 12:00:00: tagged before-upgrade
	// delete tail, LSN 201 to 300 of 2026-10-12 13:00:00: no rule keeps it, and nothing that is kept needs it
	// delete base base2, LSN 300 of 2026-11-18 10:00:00: no rule keeps it, and nothing that is kept needs it
	// delete tail, LSN 301 to 400 of 2026-11-18 11:00:00: no rule keeps it, and nothing that is kept needs it
	// keep   base base3, LSN 400 of 2026-11-18 12:00:00: daily 30d
	// delete tail, LSN 401 to 500 of 2026-11-18 13:00:00: no rule keeps it, and nothing that is kept needs it
	// delete base base4, LSN 500 of 2026-11-20 06:00:00: no rule keeps it, and nothing that is kept needs it
	// delete tail, LSN 501 to 600 of 2026-11-20 07:00:00: no rule keeps it, and nothing that is kept needs it
	// keep   base base5, LSN 600 of 2026-11-20 10:00:00: any second for 24h; daily 30d
	// keep   tail, LSN 601 to 700 of 2026-11-20 11:00:00: any second for 24h
	// keep   base base6, LSN 700 of 2026-11-21 09:00:00: any second for 24h; daily 30d; the newest point needs it
	// keep   tail, LSN 701 to 800 of 2026-11-21 10:00:00: any second for 24h; the newest point needs it
}

// world is a random history, with what the archive knows and the plan does not: the time of
// every point.
type world struct {
	History
	points map[ballast.LSN]time.Time // of the tail; a base has its own
	last   ballast.LSN
}

// newWorld makes a history of some weeks. Every LSN is a point; clocks jump at times; here
// and there the tail has a gap.
func newWorld(rng *rand.Rand) *world {
	w := &world{points: map[ballast.LSN]time.Time{}}
	at := today.Add(-time.Duration(rng.IntN(60)) * day)
	for i := range 3 + rng.IntN(40) {
		if rng.IntN(4) == 0 {
			w.addBase(rng, i, at)
		}
		first := w.last + 1
		for range 1 + rng.IntN(5) {
			w.last++
			at = at.Add(step(rng))
			w.points[w.last] = at
		}
		if rng.IntN(15) > 0 {
			w.Tail = append(w.Tail, Extent{Name: fmt.Sprint(i), First: first, Last: w.last, From: w.points[first], Until: w.points[w.last]})
		}
	}
	for range rng.IntN(3) {
		w.Pins = append(w.Pins, Pin{LSN: ballast.LSN(rng.Uint64N(uint64(w.last) + 1)), Epoch: 1, Who: "a clone"})
	}
	rng.Shuffle(len(w.Bases), func(i, j int) { w.Bases[i], w.Bases[j] = w.Bases[j], w.Bases[i] })
	rng.Shuffle(len(w.Tail), func(i, j int) { w.Tail[i], w.Tail[j] = w.Tail[j], w.Tail[i] })
	return w
}

func (w *world) addBase(rng *rand.Rand, i int, at time.Time) {
	b := Base{ID: fmt.Sprint("base", i), LSN: w.last - min(w.last, ballast.LSN(rng.IntN(4))), Epoch: ballast.Epoch(rng.IntN(2)), Time: at.Add(time.Duration(rng.IntN(3)) * time.Hour)}
	if rng.IntN(8) == 0 {
		b.Tags = []string{"tag"}
	}
	w.Bases = append(w.Bases, b)
}

// step is how far a clock goes from one point to the next.
func step(rng *rand.Rand) time.Duration {
	switch rng.IntN(20) {
	case 0:
		return -time.Duration(rng.IntN(72)) * time.Hour
	case 1:
		return time.Duration(rng.IntN(20)) * day
	default:
		return time.Duration(rng.IntN(7200)) * time.Second
	}
}

// restorable says whether a point can be restored from a history, by looking.
func restorable(h History, point ballast.LSN) bool {
	from := []ballast.LSN{0}
	for _, b := range h.Bases {
		from = append(from, b.LSN)
	}
	return slices.ContainsFunc(from, func(base ballast.LSN) bool {
		for lsn := base + 1; lsn <= point; lsn++ {
			if !slices.ContainsFunc(h.Tail, func(e Extent) bool { return e.First <= lsn && lsn <= e.Last }) {
				return false
			}
		}
		return base <= point
	})
}

// at is the point that a restore to a moment means: the last one at or before it of those
// that the history names.
func (w *world) at(h History, moment time.Time) (point ballast.LSN, ok bool) {
	consider := func(lsn ballast.LSN, at time.Time) {
		if !at.After(moment) && (!ok || lsn > point) {
			point, ok = lsn, true
		}
	}
	for _, b := range h.Bases {
		consider(b.LSN, b.Time)
	}
	for _, e := range h.Tail {
		for lsn := e.First; lsn <= e.Last; lsn++ {
			consider(lsn, w.points[lsn])
		}
	}
	return point, ok
}

// names says whether a history has the point of a pin, not only its bytes.
func names(h History, pin Pin) bool {
	return slices.ContainsFunc(h.Bases, func(b Base) bool { return b.LSN == pin.LSN && b.Epoch == pin.Epoch }) ||
		slices.ContainsFunc(h.Tail, func(e Extent) bool { return e.First <= pin.LSN && pin.LSN <= e.Last })
}

// kept carries out a plan.
func kept(t *testing.T, h History, steps []Step) History {
	t.Helper()
	left := History{Pins: h.Pins}
	bases, extents := 0, 0
	for _, s := range steps {
		if s.Reason == "" || s.What == "" || (s.Base == "") == (len(s.Tail) == 0) || s.Keep == (s.Reason == gone) {
			t.Errorf("step %+v is not one", s)
		}
		if s.Base != "" {
			bases++
		}
		extents += len(s.Tail)
		if !s.Keep {
			continue
		}
		left.Tail = append(left.Tail, s.Tail...)
		if i := slices.IndexFunc(h.Bases, func(b Base) bool { return b.ID == s.Base }); i >= 0 {
			left.Bases = append(left.Bases, h.Bases[i])
		}
	}
	if bases != len(h.Bases) || extents != len(h.Tail) {
		t.Errorf("the plan has %d bases and %d extents; want %d and %d", bases, extents, len(h.Bases), len(h.Tail))
	}
	return left
}

func randomPolicy(rng *rand.Rand) (p Policy) {
	for k := AnySecond; k <= Yearly; k++ {
		if rng.IntN(2) == 0 {
			p = append(p, Rule{k, time.Duration(1+rng.IntN(40*24)) * time.Hour})
		}
	}
	return p
}

// TestPlanKeepsWhatItMust plans for random histories, and looks at what is left: the newest
// point, tagged bases, pins, every moment of the window, the newest base of each period. T1–T5
func TestPlanKeepsWhatItMust(t *testing.T) {
	deleted := 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 0))
		w, p := newWorld(rng), randomPolicy(rng)
		now := today.Add(time.Duration(rng.IntN(100*24)-50*24) * time.Hour)
		left := kept(t, w.History, p.Plan(w.History, now))
		deleted += len(w.Bases) + len(w.Tail) - len(left.Bases) - len(left.Tail)
		w.checkPoints(t, p, now, left)
		w.checkBases(t, p, now, left)
		w.checkClocks(t, p, now, left, rng)
		if t.Failed() {
			t.Fatalf("seed %d: %v at %v", seed, p, now)
		}
	}
	if deleted == 0 {
		t.Error("nothing was ever deleted")
	}
}

// checkPoints asks for T1, T2 and T3.
func (w *world) checkPoints(t *testing.T, p Policy, now time.Time, left History) {
	must := func(point ballast.LSN, what string) {
		if restorable(w.History, point) && !restorable(left, point) {
			t.Errorf("LSN %d, %s, cannot be restored any more", point, what)
		}
	}
	must(w.last, "the newest point")
	for _, pin := range w.Pins {
		must(pin.LSN, "which a clone needs")
		if names(w.History, pin) && !names(left, pin) {
			t.Errorf("LSN %d, which a clone needs, has no name any more", pin.LSN)
		}
	}
	if len(p) == 0 || p[0].Kind != AnySecond {
		return
	}
	start := now.Add(-p[0].For)
	moments := []time.Time{start, start.Add(time.Minute)}
	for _, at := range w.points {
		moments = append(moments, at, at.Add(time.Minute))
	}
	for _, moment := range moments {
		point, ok := w.at(w.History, moment)
		if !ok || moment.Before(start) {
			continue
		}
		must(point, "which is in the window")
		if again, _ := w.at(left, moment); again != point {
			t.Errorf("at %v there was LSN %d, and now there is %d", moment, point, again)
		}
	}
}

// checkBases asks for the newest base, the tagged ones and those of the periods.
func (w *world) checkBases(t *testing.T, p Policy, now time.Time, left History) {
	has := func(b Base) bool {
		return slices.ContainsFunc(left.Bases, func(k Base) bool { return k.ID == b.ID })
	}
	for _, b := range w.Bases {
		behind := func(is func(Base) bool) bool {
			return slices.ContainsFunc(w.Bases, func(o Base) bool { return is(o) && o.LSN > b.LSN })
		}
		switch {
		case has(b):
		case len(b.Tags) > 0:
			t.Errorf("%s is tagged, and gone", b.ID)
		case !behind(func(o Base) bool { return o.LSN > b.LSN }) && !slices.ContainsFunc(left.Bases, func(k Base) bool { return k.LSN == b.LSN }):
			t.Errorf("%s is the newest, and gone", b.ID)
		}
		for _, r := range p {
			mine := func(o Base) bool { return sameLabel(r.Kind, o.Time, b.Time) && o.ID != b.ID }
			twin := slices.ContainsFunc(w.Bases, func(o Base) bool { return mine(o) && o.LSN == b.LSN })
			if r.Kind != AnySecond && !has(b) && !twin && !behind(mine) && !b.Time.Before(now.Add(-r.For)) {
				t.Errorf("%s is the newest by %v, and gone", b.ID, r)
			}
		}
	}
}

// sameLabel says whether a calendar calls both times the same hour, day, ….
func sameLabel(k Kind, a, b time.Time) bool {
	label := func(at time.Time) string {
		year, week := at.ISOWeek()
		return map[Kind]string{Hourly: at.Format("2006-01-02 15"), Daily: at.Format("2006-01-02"), Weekly: fmt.Sprint(year, " ", week),
			Monthly: at.Format("2006-01"), Yearly: at.Format("2006"), AnySecond: at.String()}[k]
	}
	return label(a.UTC()) == label(b.UTC())
}

// checkClocks asks for T4 and T5, and that a plan that was carried out leaves nothing to do.
func (w *world) checkClocks(t *testing.T, p Policy, now time.Time, left History, rng *rand.Rand) {
	early := kept(t, w.History, p.Plan(w.History, now.Add(-time.Duration(rng.IntN(1000*24))*time.Hour)))
	if !contains(early, left) {
		t.Error("an earlier now deletes what a later one keeps")
	}
	var newest time.Time
	for _, e := range w.Tail {
		newest = later(newest, later(e.From, e.Until))
	}
	for _, b := range w.Bases {
		newest = later(newest, b.Time)
	}
	if ahead := kept(t, w.History, p.Plan(w.History, today.Add(50*year))); !contains(ahead, kept(t, w.History, p.Plan(w.History, newest))) {
		t.Error("a clock that is ahead deletes what is kept at the time of the newest point")
	}
	if again := kept(t, left, p.Plan(left, now)); !contains(again, left) {
		t.Error("planning again deletes more")
	}
}

func contains(all, some History) bool {
	for _, b := range some.Bases {
		if !slices.ContainsFunc(all.Bases, func(o Base) bool { return o.ID == b.ID }) {
			return false
		}
	}
	for _, e := range some.Tail {
		if !slices.Contains(all.Tail, e) {
			return false
		}
	}
	return true
}

// A history with nothing in it, and one without bases, have nothing to delete.
func TestPlanOfLittle(t *testing.T) {
	p := policy(t, "hourly 1h")
	if steps := p.Plan(History{}, today); steps != nil {
		t.Errorf("the plan of nothing is %v", steps)
	}
	tail := []Extent{{Name: "a", First: 1, Last: 5, From: today.Add(-year), Until: today.Add(-year)}, {Name: "b", First: 6, Last: 9, From: today, Until: today}}
	if left := kept(t, History{Tail: tail}, p.Plan(History{Tail: tail}, today)); !slices.Equal(left.Tail, tail) {
		t.Errorf("without a base, %v is left; want %v", left.Tail, tail)
	}
}
