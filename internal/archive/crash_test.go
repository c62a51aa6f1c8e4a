package archive

import (
	"errors"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/archive/retention"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
)

var errStore = errors.New("the store went away")

// broken returns the archive through a store that fails at its n-th change, and ever after;
// and whether that has happened.
func broken(t *testing.T, a *Archive, st store.Store, n int, late bool) (*Archive, func() bool) {
	t.Helper()
	faulty := storetest.NewFaulty(st)
	changes := 0
	faulty.FailWith(func(c storetest.Call) storetest.Fault {
		if c.Op == storetest.Get || c.Op == storetest.List {
			return storetest.Fault{}
		}
		changes++
		if changes <= n {
			return storetest.Fault{}
		}
		return storetest.Fault{Err: errStore, After: late && changes == n+1}
	})
	repo, err := a.repo.Reopen(faulty)
	if err != nil {
		t.Fatal(err)
	}
	return New(faulty, repo, "ballast test"), func() bool { return changes > n }
}

// again returns the archive as another process finds it.
func again(t testing.TB, a *Archive, st store.Store) *Archive {
	t.Helper()
	repo, err := a.repo.Reopen(st)
	if err != nil {
		t.Fatal(err)
	}
	return New(st, repo, "ballast test")
}

// H3: a base snapshot that is cut short at any change of the store leaves every point
// whole, and the next one succeeds.
func TestWriteBaseCutShort(t *testing.T) {
	st := newMemory()
	a := newArchive(t, st)
	m := newModel(t, a, 1, volumeID(1), 16)
	m.open()
	m.write(0, 1000)
	m.ship()
	m.base(false)
	m.write(500, 2000)
	m.discard(3*chunkBlocks, 2*chunkBlocks)
	m.ship()
	m.sortStates()
	for _, late := range []bool{false, true} {
		for n := 0; ; n++ {
			st := st.clone()
			cut, isCut := broken(t, a, st, n, late)
			m.archive = cut
			_, err := m.tryBase(t.Context(), true)
			if !isCut() {
				if err != nil {
					t.Fatalf("without a cut: %v", err)
				}
				break
			}
			whole := again(t, a, st)
			for i := range m.states {
				mustRestore(t, whole, m, &m.states[i])
			}
			m.archive = whole
			b, err := m.tryBase(t.Context(), true)
			if err != nil {
				t.Fatalf("n=%d late=%t: the next base: %v", n, late, err)
			}
			plan, err := whole.Plan(t.Context(), m.id, When{Snapshot: b.Snapshot.String()})
			if err != nil {
				t.Fatal(err)
			}
			last := m.state()
			if err := compare(t.Context(), whole, plan, &last); err != nil {
				t.Errorf("n=%d late=%t: the next base: %v", n, late, err)
			}
		}
	}
}

// H4: retention that is cut short at any change of the store leaves every kept point
// whole, and the next one goes on.
func TestRetainCutShort(t *testing.T) {
	st := newMemory()
	a := newArchive(t, st)
	m := newModel(t, a, 2, volumeID(2), 16)
	m.open()
	for i := range 12 {
		m.write(i*200, 150)
		m.ship()
		if i%3 == 2 {
			m.base(true)
		}
		if i%5 == 4 {
			m.open()
		}
	}
	m.sortStates()
	m.policy = retention.Policy{{Kind: retention.AnySecond, For: 10 * time.Minute}}
	for n := 0; ; n++ {
		st := st.clone()
		cut, isCut := broken(t, a, st, n, n%2 == 1)
		r, err := cut.PlanRetention(t.Context(), m.id, m.policy, m.now, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = cut.Retain(t.Context(), r)
		if (err != nil) != isCut() {
			t.Fatalf("n=%d: retain = %v; cut %t", n, err, isCut())
		}
		m.archive, m.thinned = again(t, a, st), m.now
		m.checkMoments(uint64(n), 6)
		if h, err := m.archive.History(t.Context(), m.id); err != nil || len(h.Problems) > 0 {
			t.Errorf("n=%d: history %v, problems %q", n, err, h.Problems)
		}
		if !isCut() {
			if n < 5 {
				t.Errorf("retention made %d changes; the test wants more", n)
			}
			return
		}
		r, err = m.archive.PlanRetention(t.Context(), m.id, m.policy, m.now, nil)
		if err == nil {
			err = m.archive.Retain(t.Context(), r)
		}
		if err != nil {
			t.Fatalf("n=%d: the next retention: %v", n, err)
		}
		m.checkMoments(uint64(n), 3)
	}
}

// mustRestore restores exactly one point.
func mustRestore(t *testing.T, a *Archive, m *model, want *state) {
	t.Helper()
	plan, err := a.Plan(t.Context(), m.id, When{Exactly: &want.point})
	if err == nil {
		err = compare(t.Context(), a, plan, want)
	}
	if err != nil {
		t.Fatalf("point %+v: %v", want.point, err)
	}
}

// A base of a writer whose epoch was taken over is refused, and one that was taken
// meanwhile is on no plan (H5).
func TestFormerWriterTakesNoBase(t *testing.T) {
	a := newArchive(t, newMemory())
	m := newModel(t, a, 3, volumeID(3), 16)
	m.open()
	m.write(0, 300)
	m.ship()
	former := *m
	m.open()
	m.write(100, 300)
	m.ship()
	former.write(700, 50)
	if b, err := former.tryBase(t.Context(), false); err == nil {
		t.Errorf("a former writer took base %+v", b)
	}
	h, err := a.History(t.Context(), m.id)
	if err != nil || len(h.Problems) > 0 {
		t.Errorf("history: %v, problems %q", err, h.Problems)
	}
	m.sortStates()
	for i := range m.states {
		mustRestore(t, a, m, &m.states[i])
	}
}
