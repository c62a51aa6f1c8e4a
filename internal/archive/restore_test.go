package archive

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// G5, H1, H2: whatever was written, whenever it is asked for, a restore is the volume
// at that moment, byte for byte.
func TestRestoreIsTheVolumeAtThatMoment(t *testing.T) {
	const moments, steps = 20, 100
	workloads := uint64(25)
	if testing.Short() {
		workloads = 5
	}
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

// checkMoments restores the volume as it was at moments by chance.
func (m *model) checkMoments(seed uint64, moments int) {
	m.t.Helper()
	m.sortStates()
	rng := rand.New(rand.NewPCG(seed, 8))
	until := int64(m.now.Sub(clock(0)) + time.Minute)
	for range moments {
		moment := clock(0).Add(time.Duration(rng.Int64N(until)))
		want := m.at(moment)
		plan, err := m.archive.Plan(m.t.Context(), m.id, When{Time: moment})
		switch {
		case want == nil && err != nil:
		case want == nil:
			m.t.Fatalf("plan before the beginning: %q", plan.Lines())
		case err != nil:
			m.t.Fatalf("plan at %s: %v", moment, err)
		default:
			if err := compare(m.t.Context(), m.archive, reread(m.t, plan), want); err != nil {
				m.t.Fatalf("at %s: %v", moment, err)
			}
		}
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
