package replica

import (
	"cmp"

	"github.com/ballast-io/ballast"
)

// Candidate is a copy that a forced failover could go on from.
type Candidate struct {
	Node  ballast.NodeID
	State State
}

// Choose returns the index of the copy that has the most, -1 when none is whole. A
// later epoch began from all that was acknowledged before it, so its copy is newer than a
// longer one of an earlier epoch. Of two that are as new the first is taken.
func Choose(candidates []Candidate) int {
	best := -1
	for i, c := range candidates {
		if c.State.Complete && (best < 0 || newer(c.State, candidates[best].State)) {
			best = i
		}
	}
	return best
}

func newer(a, b State) bool {
	if seeded(chooseLongest) {
		return a.Last > b.Last
	}
	return cmp.Or(cmp.Compare(lastEpoch(a), lastEpoch(b)), cmp.Compare(a.Last, b.Last)) > 0
}

// lastEpoch is the epoch of a copy's last record: one that it merely has heard of
// says nothing of what it has.
func lastEpoch(s State) (epoch ballast.Epoch) {
	for _, r := range s.Lineage {
		if r.From <= s.Last {
			epoch = r.Epoch
		}
	}
	return epoch
}
