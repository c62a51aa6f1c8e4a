package replica

import (
	"cmp"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// Candidate is a copy that a forced failover could go on from.
type Candidate struct {
	Node  ballast.NodeID
	State State
}

// Branch is what the record knows of the history that counts: the lineage of a copy from which
// an epoch went on, and all that was written from that epoch on. What other copies have
// beyond that was never acknowledged, or was set aside by a forced failover. Without it nobody could
// tell: that a record's epoch is a later one does not say that the record was
// kept, when the writer of that epoch died, and who came next had not heard of it.
//
// The zero Branch says nothing: every copy may be on it.
type Branch struct {
	Epoch   ballast.Epoch  `json:"epoch"`              // that began with it
	LSN     ballast.LSN    `json:"lsn"`                // the last record before that
	AtLeast bool           `json:"at_least,omitempty"` // or some that follow it, which were not durable when the epoch was claimed
	Lineage volume.Lineage `json:"lineage,omitempty"`  // of the records up to there, the latest of it
}

// maxReigns is how much of a lineage a Branch has: as much as a copy keeps for others that were away.
const maxReigns = 64

// BranchOf returns the branch of who leads under an epoch, from the lineage of its log.
func BranchOf(lineage volume.Lineage) Branch { return branchSince(lineage, lineage.Epoch()) }

// branchSince returns the branch that went on under epoch or a later one, as a lineage
// has it; the zero one if it does not.
func branchSince(l volume.Lineage, epoch ballast.Epoch) Branch {
	i := slices.IndexFunc(l, func(r volume.Reign) bool { return r.Epoch >= epoch })
	if i < 0 || i == 0 && l[0].From > 1 {
		return Branch{}
	}
	return NewBranch(epoch, State{Lineage: l[:i], Last: l[i].From - 1})
}

// NewBranch returns the branch that goes on under epoch from where a copy stands.
func NewBranch(epoch ballast.Epoch, s State) Branch {
	return Branch{Epoch: epoch, LSN: s.Last, Lineage: s.Lineage[max(0, len(s.Lineage)-maxReigns):]}
}

// Valid reports whether a Branch can have been made by this or a later release.
func (b Branch) Valid() bool { return len(b.Lineage) <= maxReigns }

// Choose returns the index of the copy that has the most of the branch, -1 when none is
// whole. What is not of the branch is nothing in a copy's favour (R9). On the branch, a later
// epoch began from all that was acknowledged before it, so its copy is newer than a
// longer one of an earlier epoch. Of two that are as good the first is taken.
func Choose(candidates []Candidate, b Branch) int {
	best := -1
	b = b.seenBy(candidates)
	for i, c := range candidates {
		if c.State.Complete && (best < 0 || b.better(c.State, candidates[best].State)) {
			best = i
		}
	}
	return best
}

// seenBy returns the branch as a copy that is on it knows it: exactly.
func (b Branch) seenBy(candidates []Candidate) Branch {
	for _, c := range candidates {
		if seen := branchSince(c.State.Lineage, b.Epoch); b.AtLeast && c.State.Complete && seen.Epoch != 0 {
			return seen
		}
	}
	return b
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
	end := b.LSN
	if b.AtLeast {
		end = s.Last
	}
	common, _ := b.Lineage.Common(end, s.Lineage, s.Last) // not known: nothing, as far as one can say
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
