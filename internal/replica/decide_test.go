package replica

import (
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

func TestMeet(t *testing.T) {
	leader := Position{Lineage: volume.Lineage{{Epoch: 1, From: 1}, {Epoch: 3, From: 11}}, Last: 20, Oldest: 6}
	for _, tt := range []struct {
		name     string
		follower State
		want     Meeting
	}{
		{"it has all but the latest", State{Lineage: leader.Lineage, Last: 18, Applied: 9, Complete: true}, Meeting{FromLog: true, Cut: 18}},
		{"a tail of an earlier epoch", State{Lineage: leader.Lineage[:1], Last: 12, Applied: 9, Complete: true}, Meeting{FromLog: true, Cut: 10}},
		{"a tail of another epoch", State{Lineage: volume.Lineage{{Epoch: 1, From: 1}, {Epoch: 2, From: 9}}, Last: 15, Applied: 7, Complete: true}, Meeting{FromLog: true, Cut: 8}},
		{"it has folded what was cut", State{Lineage: volume.Lineage{{Epoch: 1, From: 1}, {Epoch: 2, From: 9}}, Last: 15, Applied: 12, Complete: true}, Meeting{Since: 8}},
		{"behind the log's beginning", State{Lineage: leader.Lineage[:1], Last: 4, Applied: 3, Complete: true}, Meeting{Since: 3}},
		{"at the log's beginning", State{Lineage: leader.Lineage[:1], Last: 5, Applied: 3, Complete: true}, Meeting{FromLog: true, Cut: 5}},
		{"nothing yet", State{}, Meeting{Full: true}},
		{"chunks are missing", State{Lineage: leader.Lineage, Last: 20, Applied: 20}, Meeting{Full: true}},
		{"nothing in common that is known", State{Lineage: volume.Lineage{{Epoch: 4, From: 9}}, Last: 15, Applied: 12, Complete: true}, Meeting{Full: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Meet(leader, tt.follower); got != tt.want {
				t.Errorf("Meet = %+v; want %+v", got, tt.want)
			}
		})
	}
}

// What was staged for another history counts up to where both are one.
func TestCounts(t *testing.T) {
	leader := Position{Lineage: volume.Lineage{{Epoch: 1, From: 1}, {Epoch: 3, From: 11}}, Last: 20}
	for _, tt := range []struct {
		name   string
		staged volume.Lineage
		last   ballast.LSN
		want   ballast.LSN
	}{
		{"the same history", leader.Lineage, 18, 18},
		{"another one since", volume.Lineage{{Epoch: 1, From: 1}, {Epoch: 2, From: 9}}, 18, 8},
		{"nothing that is known", volume.Lineage{{Epoch: 4, From: 9}}, 18, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Counts(leader, tt.staged, tt.last); got != tt.want {
				t.Errorf("Counts = %d; want %d", got, tt.want)
			}
		})
	}
}

// R4
func TestGreet(t *testing.T) {
	record := Members{Epoch: 4, Primary: "n1"}
	for _, tt := range []struct {
		name   string
		stored ballast.Epoch
		hello  Hello
		want   Refusal
	}{
		{"the writer", 3, Hello{"n1", 4}, Welcome},
		{"the writer again", 4, Hello{"n1", 4}, Welcome},
		{"an earlier writer", 3, Hello{"n1", 3}, Stale},
		{"one that is stored as over", 5, Hello{"n1", 4}, Stale},
		{"one that the record does not have yet", 3, Hello{"n2", 5}, NotKnown},
		{"another node under its epoch", 3, Hello{"n2", 4}, NotWriter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Greet(tt.stored, record, tt.hello); got != tt.want {
				t.Errorf("Greet = %v; want %v", got, tt.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	at := func(last ballast.LSN, complete bool, lineage ...volume.Reign) Candidate {
		return Candidate{State: State{Lineage: lineage, Last: last, Complete: complete}}
	}
	first, second := volume.Reign{Epoch: 1, From: 1}, volume.Reign{Epoch: 2, From: 11}
	for _, tt := range []struct {
		name       string
		candidates []Candidate
		want       int
	}{
		{"nobody", nil, -1},
		{"none is whole", []Candidate{at(9, false, first)}, -1},
		{"the longer log", []Candidate{at(8, true, first), at(9, true, first)}, 1},
		{"the later epoch", []Candidate{at(30, true, first), at(12, true, first, second)}, 1},
		{"an epoch without a record", []Candidate{at(30, true, first), at(10, true, first, second)}, 0},
		{"as new", []Candidate{at(9, true, first), at(9, true, first)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Choose(tt.candidates, Branch{}); got != tt.want {
				t.Errorf("Choose = %d; want %d", got, tt.want)
			}
		})
	}
}

// R9: records 1 to 10 are of epoch 1; n1 went on under 2 with 11 to 30, and was given up for a copy
// that stood at 15 of that, which goes on under 4.
func TestChooseAfterForcedFailover(t *testing.T) {
	at := func(last ballast.LSN, lineage ...volume.Reign) Candidate {
		return Candidate{State: State{Lineage: lineage, Last: last, Complete: true}}
	}
	first, second, third := volume.Reign{Epoch: 1, From: 1}, volume.Reign{Epoch: 2, From: 11}, volume.Reign{Epoch: 3, From: 21}
	forced := volume.Reign{Epoch: 4, From: 16}
	branch := Branch{Epoch: 4, LSN: 15, Lineage: volume.Lineage{first, second}}
	givenUp := at(30, first, second, third)
	for _, tt := range []struct {
		name       string
		candidates []Candidate
		want       int
		aside      bool
	}{
		{"what was given up is longer, and of a later epoch", []Candidate{givenUp, at(15, first, second, forced)}, 1, false},
		{"the copy that was forced was not opened yet", []Candidate{givenUp, at(15, first, second)}, 1, false},
		{"a record since", []Candidate{givenUp, at(16, first, second, forced)}, 1, false},
		{"a later epoch since", []Candidate{at(16, first, second, forced), at(17, first, second, forced, volume.Reign{Epoch: 5, From: 17})}, 1, false},
		{"what was given up has more of what counts", []Candidate{at(12, first, second), givenUp}, 1, true},
		{"even of what was cut under the branch's epoch", []Candidate{at(12, first, second, forced), givenUp}, 1, true},
		{"nothing else is there", []Candidate{givenUp}, 0, true},
		{"another tail of the time before", []Candidate{at(40, first), at(11, first, second)}, 1, false},
		{"nothing in common that is known", []Candidate{at(90, volume.Reign{Epoch: 3, From: 40}), at(1, first)}, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Choose(tt.candidates, branch)
			if got != tt.want || branch.SetAside(tt.candidates[got].State) != tt.aside {
				t.Errorf("Choose = %d, set aside: %t; want %d, %t", got, branch.SetAside(tt.candidates[got].State), tt.want, tt.aside)
			}
		})
	}
}
