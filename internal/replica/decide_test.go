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
			if got := Choose(tt.candidates); got != tt.want {
				t.Errorf("Choose = %d; want %d", got, tt.want)
			}
		})
	}
}
