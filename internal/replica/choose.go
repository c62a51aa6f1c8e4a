package replica

import (
	"cmp"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// Candidate is a copy that a forced failover could go on from.
type Candidate struct {
	Node  ballast.NodeID
	State State
}

// Branch is the history that counts since the latest forced failover: that of the copy that it
// went on from, and all that was written from its epoch on. Other copies were set aside
// then, with whatever they have beyond what they have in common with it. The zero
// Branch is that of a volume of which nothing was forced: every copy is on it.
type Branch struct {
	Epoch   ballast.Epoch  // that began with it
	LSN     ballast.LSN    // where the copy stood
	Lineage volume.Lineage // of its records up to there
}

// Choose returns the index of the copy that has the most of the branch, -1 when none is
// whole. What was set aside is nothing in a copy's favour (R9). A later epoch began from all that
// was acknowledged before it, so its copy is newer than a longer one of an earlier
// epoch. Of two that are as good the first is taken.
func Choose(candidates []Candidate, b Branch) int {
	best := -1
	for i, c := range candidates {
		if c.State.Complete && (best < 0 || b.better(c.State, candidates[best].State)) {
			best = i
		}
	}
	return best
}

// SetAside reports whether a copy has records that are not of the branch: going on from
// it brings them back.
func (b Branch) SetAside(s State) bool { return b.standing(s).aside }

func (b Branch) better(one, other State) bool {
	switch {
	case seeded(chooseLongest):
		return one.Last > other.Last
	case seeded(chooseSetAside):
		return cmp.Or(cmp.Compare(lastEpoch(one), lastEpoch(other)), cmp.Compare(one.Last, other.Last)) > 0
	}
	x, y := b.standing(one), b.standing(other)
	switch of := cmp.Or(cmp.Compare(x.epoch, y.epoch), cmp.Compare(x.last, y.last)); {
	case of != 0:
		return of > 0
	case x.aside != y.aside:
		return y.aside
	}
	return cmp.Or(cmp.Compare(lastEpoch(one), lastEpoch(other)), cmp.Compare(one.Last, other.Last)) > 0
}

// standing is how much of a branch a copy has.
type standing struct {
	epoch ballast.Epoch // of the last record of the branch that it has
	last  ballast.LSN   // that record
	aside bool          // it has others, which are not of the branch
}

// standing is by the branch's own epochs: those of what was set aside say nothing.
func (b Branch) standing(s State) standing {
	if s.Lineage.Epoch() >= b.Epoch { // it was opened or cut under the branch's epoch, or a later one
		return standing{epoch: lastEpoch(s), last: s.Last}
	}
	common, _ := b.Lineage.Common(b.LSN, s.Lineage, s.Last) // not known: nothing, as far as one can say
	return standing{epoch: lastEpoch(State{Lineage: b.Lineage, Last: common}), last: common, aside: common < s.Last}
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
