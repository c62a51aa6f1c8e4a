package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mutation is something that happens to objects of an archive.
type mutation struct {
	name string
	do   func(rng *rand.Rand, st, old *memory, name string) (what string)
}

// mutations are every way that an object can be wrong which a store, a disk, or who has
// access to them but not the key, can bring about.
var mutations = []mutation{
	{"truncate", func(rng *rand.Rand, st, _ *memory, name string) string {
		data := st.objects[name]
		st.objects[name] = data[:rng.IntN(len(data))]
		return fmt.Sprintf("to %d of %d bytes", len(st.objects[name]), len(data))
	}},
	{"flip", func(rng *rand.Rand, st, _ *memory, name string) string {
		data := slices.Clone(st.objects[name])
		bit := rng.IntN(8 * len(data))
		data[bit/8] ^= 1 << (bit % 8)
		st.objects[name] = data
		return fmt.Sprintf("bit %d", bit)
	}},
	{"append", func(_ *rand.Rand, st, _ *memory, name string) string {
		st.objects[name] = append(slices.Clone(st.objects[name]), "more"...)
		return ""
	}},
	{"drop", func(_ *rand.Rand, st, _ *memory, name string) string {
		delete(st.objects, name)
		return ""
	}},
	{"duplicate", func(rng *rand.Rand, st, _ *memory, name string) string {
		to := sibling(rng, st, name)
		st.objects[to] = st.objects[name]
		return "as " + to
	}},
	{"swap", func(rng *rand.Rand, st, _ *memory, name string) string {
		to := sibling(rng, st, name)
		st.objects[to], st.objects[name] = st.objects[name], st.objects[to]
		return "with " + to
	}},
	{"rename", func(rng *rand.Rand, st, _ *memory, name string) string {
		to := sibling(rng, st, name)
		if rng.IntN(2) == 0 { // a name that nothing has yet
			to = name[:len(name)-1] + string("0123456789abcdef"[rng.IntN(16)])
		}
		st.objects[to] = st.objects[name]
		if to != name {
			delete(st.objects, name)
		}
		return "to " + to
	}},
	{"mix volumes", func(_ *rand.Rand, st, _ *memory, name string) string {
		to := strings.Replace(name, string(volumeID(1)), string(volumeID(2)), 1)
		st.objects[to] = st.objects[name]
		return "to " + to
	}},
	{"replay", func(_ *rand.Rand, st, old *memory, name string) string {
		if data, ok := old.objects[name]; ok {
			st.objects[name] = data
			return "an older version"
		}
		delete(st.objects, name)
		return "none"
	}},
	{"drop a folder", func(rng *rand.Rand, st, _ *memory, name string) string {
		folder := name[:strings.LastIndexByte(name, '/')+1]
		for _, n := range st.names(folder) {
			if rng.IntN(3) > 0 {
				delete(st.objects, n)
			}
		}
		return "most of " + folder
	}},
}

// sibling returns another object, mostly of the same kind.
func sibling(rng *rand.Rand, st *memory, name string) string {
	kind, _, _ := strings.Cut(name, "/")
	if kind == "repo" {
		kind = strings.Join(strings.SplitN(name, "/", 3)[:2], "/")
	}
	all := st.names(kind)
	return all[rng.IntN(len(all))]
}

// R7, G5, H1, H2: whatever happens to an archive, what is restored from it is exactly
// a state that was, and the one that was asked for unless that is said.
func TestMutations(t *testing.T) {
	count := amount(150, 20)
	if n, err := strconv.ParseUint(os.Getenv("BALLAST_MUTATIONS"), 10, 32); err == nil {
		count = n
	}
	good := newMemory()
	a := newArchive(t, good)
	models := []*model{newModel(t, a, 1, volumeID(1), 16), newModel(t, a, 2, volumeID(2), 16)}
	var old *memory
	for i := range 3 {
		for _, m := range models {
			m.open()
			for range 12 {
				m.write(m.extent())
				m.flush(true)
				if m.rng.IntN(3) == 0 {
					m.ship()
				}
			}
			m.ship()
			if i < 2 {
				m.base(true, fmt.Sprintf("tag%d", i))
			}
		}
		if i == 1 {
			old = good.clone()
		}
	}
	for _, m := range models {
		m.sortStates()
	}
	names := slices.DeleteFunc(good.names(""), func(name string) bool {
		return name == "repo/config" || strings.HasPrefix(name, "repo/keys/") || strings.HasPrefix(name, "repo/locks/")
	})
	tally := map[string]int{}
	for seed := range count {
		rng := rand.New(rand.NewPCG(seed, 9))
		st := good.clone()
		mu, name := mutations[seed%uint64(len(mutations))], names[rng.IntN(len(names))]
		what := fmt.Sprintf("seed=%d: %s %s %s", seed, mu.name, name, mu.do(rng, st, old, name))
		a := again(t, a, st)
		for _, m := range models {
			tally[m.judge(t, a, When{}, &m.states[len(m.states)-1], what)]++
			moment := clock(0).Add(time.Duration(rng.Int64N(int64(m.now.Sub(clock(0))))))
			if want := m.at(moment); want != nil {
				tally[m.judge(t, a, When{Time: moment}, want, what)]++
			}
		}
	}
	t.Logf("of %d mutations: %v", count, tally)
	if tally["exact"] == 0 || tally["detected"] == 0 {
		t.Errorf("the mutations are all of one kind: %v", tally)
	}
}

// judge restores a point of a mutated archive, and says how that went: it is exactly
// the one that was asked for, or an error, or another one that was and the history says
// that something is missing.
func (m *model) judge(t *testing.T, a *Archive, when When, want *state, what string) string {
	t.Helper()
	plan, err := a.Plan(t.Context(), m.id, when)
	if err != nil {
		m.followHint(t, a, err, what)
		return "detected"
	}
	at := slices.IndexFunc(m.states, func(s state) bool {
		return s.point.LSN == plan.Point.LSN && s.point.Size == plan.Point.Size
	})
	if at < 0 {
		t.Errorf("%s: volume %s: the plan has point %+v, which never was", what, m.name, plan.Point)
		return "wrong"
	}
	was := m.states[at]
	switch err := compare(t.Context(), a, plan, &was); {
	case isDifferent(err):
		t.Errorf("%s: volume %s: %v", what, m.name, err)
		return "wrong"
	case err != nil:
		return "detected"
	case was.point.LSN == want.point.LSN:
		return "exact"
	}
	h, err := a.History(t.Context(), m.id)
	if err == nil && len(h.Problems) == 0 {
		t.Errorf("%s: volume %s: LSN %d instead of %d, and nothing says so", what, m.name, was.point.LSN, want.point.LSN)
		return "wrong"
	}
	return "earlier"
}

// followHint restores the good point that an error names.
func (m *model) followHint(t *testing.T, a *Archive, err error, what string) {
	t.Helper()
	var gap *GapError
	if !errors.As(err, &gap) || gap.Good == nil {
		return
	}
	plan, err := a.Plan(t.Context(), m.id, When{Time: gap.Good.Time})
	if err != nil {
		t.Errorf("%s: volume %s: the good point that the error names: %v", what, m.name, err)
		return
	}
	for i := range m.states {
		if s := &m.states[i]; s.point.LSN == plan.Point.LSN && s.point.Size == plan.Point.Size {
			if err := compare(context.WithoutCancel(t.Context()), a, plan, s); isDifferent(err) {
				t.Errorf("%s: volume %s: %v", what, m.name, err)
			}
			return
		}
	}
	t.Errorf("%s: volume %s: the good point %+v never was", what, m.name, plan.Point)
}

func isDifferent(err error) bool {
	var d *differs
	return errors.As(err, &d)
}

// A clean archive raises no alarm.
func TestNoFalseAlarm(t *testing.T) {
	a := newArchive(t, newMemory())
	m := newModel(t, a, 5, volumeID(1), 16)
	m.open()
	for i := range 30 {
		m.write(m.extent())
		m.ship()
		if i%10 == 5 {
			m.open()
		}
		if h, err := a.History(t.Context(), m.id); err != nil || len(h.Problems) > 0 {
			t.Fatalf("after %d shipments: history: %v, problems %q", i+1, err, h.Problems)
		}
		if p, err := a.Plan(t.Context(), m.id, When{}); err != nil || p.Point.LSN != m.lsn {
			t.Fatalf("after %d shipments: plan %+v, %v; want LSN %d", i+1, p, err, m.lsn)
		}
	}
}
