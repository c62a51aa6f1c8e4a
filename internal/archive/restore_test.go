package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/retention"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// G5, H1, H2: whatever was written, whenever it is asked for, a restore is the volume
// at that moment, byte for byte.
func TestRestoreIsTheVolumeAtThatMoment(t *testing.T) {
	const moments, steps = 20, 100
	workloads := amount(25, 3)
	a := newArchive(t, newMemory())
	for seed := range workloads {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, a, seed, volumeID(int(seed)), 16+int(seed%4))
			m.open()
			for range steps {
				m.step()
			}
			m.ship()
			m.checkMoments(seed, moments)
			h, err := a.History(t.Context(), m.id)
			if err != nil || len(h.Problems) > 0 {
				t.Errorf("history: %v, problems %q", err, h.Problems)
			}
		})
	}
}

// amount is how much a test does: less where there is little time.
func amount(full, short uint64) uint64 {
	if testing.Short() || isRace {
		return short
	}
	return full
}

// checkMoments restores the volume as it was at moments by chance: what the policy
// keeps must be there, and whatever is there must be right. It returns how many were.
func (m *model) checkMoments(seed uint64, moments int) (there int) {
	m.t.Helper()
	m.sortStates()
	rng := rand.New(rand.NewPCG(seed, 8))
	until := int64(m.now.Sub(clock(0)) + unit)
	for range moments {
		if m.checkMoment(clock(0).Add(time.Duration(rng.Int64N(until)))) {
			there++
		}
	}
	return there
}

func (m *model) checkMoment(moment time.Time) (there bool) {
	m.t.Helper()
	want := m.at(moment)
	plan, err := m.archive.Plan(m.t.Context(), m.id, When{Time: moment})
	var gap *GapError
	switch {
	case err == nil && want == nil:
		m.t.Fatalf("plan before the beginning: %q", plan.Lines())
	case err == nil:
		if err := compare(m.t.Context(), m.archive, reread(m.t, plan), want); err != nil {
			m.t.Fatalf("at %s: %v", moment, err)
		}
	case want != nil && m.mustHave(moment), !errors.As(err, &gap) && !errors.Is(err, ballast.ErrNotFound):
		m.t.Fatalf("plan at %s, which is kept: %v", moment, err)
	}
	return err == nil
}

// G5, H4: retention takes nothing that it says it keeps, and what it takes is never
// taken for something else.
func TestRestoreAfterRetention(t *testing.T) {
	workloads := amount(12, 2)
	a := newArchive(t, newMemory())
	for seed := range workloads {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, a, seed+100, volumeID(int(seed)), 16)
			m.policy = retention.Policy{{Kind: retention.AnySecond, For: 45 * time.Minute}, {Kind: retention.Hourly, For: 3 * time.Hour}}
			m.open()
			tagged := map[string]state{}
			for i := range 6 {
				for range 20 {
					m.step()
				}
				tag := fmt.Sprintf("before-%d", i)
				m.base(true, tag)
				tagged[tag] = m.state()
				m.retain()
			}
			m.ship()
			there := m.checkMoments(seed, 40)
			t.Logf("%d of 40 moments are there, of %d objects", there, len(a.store.(*memory).names(tail.VolumePrefix(m.id))))
			for tag, want := range tagged {
				plan, err := a.Plan(t.Context(), m.id, When{Snapshot: tag})
				if err != nil {
					t.Fatalf("plan of tag %q: %v", tag, err)
				}
				if err := compare(t.Context(), a, plan, &want); err != nil {
					t.Errorf("tag %q: %v", tag, err)
				}
			}
			h, err := a.History(t.Context(), m.id)
			if err != nil || len(h.Problems) > 0 {
				t.Errorf("history: %v, problems %q", err, h.Problems)
			}
		})
	}
}

// reread returns a plan as the next process has it.
func reread(t testing.TB, plan *Plan) *Plan {
	t.Helper()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	again := &Plan{}
	if err := json.Unmarshal(text, again); err != nil {
		t.Fatal(err)
	}
	return again
}
