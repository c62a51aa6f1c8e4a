package volume

import (
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
)

func TestCommon(t *testing.T) {
	for _, tt := range []struct {
		name      string
		mine      Lineage
		last      ballast.LSN
		other     Lineage
		otherLast ballast.LSN
		want      ballast.LSN
		known     bool
	}{
		{"the same", Lineage{{1, 1}}, 10, Lineage{{1, 1}}, 10, 10, true},
		{"one is behind", Lineage{{1, 1}}, 10, Lineage{{1, 1}, {2, 15}}, 20, 10, true},
		{"one has a tail that was cut", Lineage{{1, 1}}, 12, Lineage{{1, 1}, {2, 11}}, 20, 10, true},
		{"the next epoch has no record", Lineage{{1, 1}}, 12, Lineage{{1, 1}, {2, 11}}, 10, 10, true},
		{"two tails", Lineage{{1, 1}, {2, 5}}, 12, Lineage{{1, 1}, {3, 8}}, 20, 4, true},
		{"nothing", Lineage{{1, 1}}, 12, Lineage{{2, 1}}, 20, 0, true},
		{"an empty one", nil, 0, Lineage{{2, 50}}, 70, 0, true},
		{"what is needed was forgotten", Lineage{{1, 1}}, 12, Lineage{{3, 20}}, 30, 0, false},
		{"what is needed was forgotten behind a tail", Lineage{{1, 1}, {2, 25}}, 27, Lineage{{3, 20}}, 30, 0, false},
		{"what is not needed was forgotten", Lineage{{1, 1}, {3, 20}, {4, 28}}, 29, Lineage{{3, 20}}, 30, 27, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 {
				if got, known := tt.mine.Common(tt.last, tt.other, tt.otherLast); got != tt.want || known != tt.known {
					t.Errorf("Common = %d, %t; want %d, %t", got, known, tt.want, tt.known)
				}
				tt.mine, tt.last, tt.other, tt.otherLast = tt.other, tt.otherLast, tt.mine, tt.last
			}
		})
	}
}

// TestCommonOfRandomHistories lets random copies lead in turn, each from where it stands, and
// holds Common against their records one by one, whatever a lineage has forgotten.
func TestCommonOfRandomHistories(t *testing.T) {
	seed := testSeed(t)
	unknown := 0
	for run := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, run))
		type copied struct {
			lineage Lineage
			epochs  []ballast.Epoch // of record i+1
		}
		copies := make([]copied, 3)
		for epoch := range ballast.Epoch(12) {
			lead := &copies[rng.IntN(len(copies))]
			lead.lineage = lead.lineage.Next(epoch+1, ballast.LSN(len(lead.epochs)+1))
			for range rng.IntN(5) {
				lead.epochs = append(lead.epochs, epoch+1)
			}
			if c := &copies[rng.IntN(len(copies))]; c != lead {
				n := rng.IntN(len(lead.epochs) + 1) // it follows, and has come so far
				if at, ok := c.lineage.Common(ballast.LSN(len(c.epochs)), lead.lineage, ballast.LSN(n)); ok {
					*c = copied{c.lineage.graft(lead.lineage, at), append(c.epochs[:at:at], lead.epochs[at:n]...)}
				}
			}
		}
		a, b := copies[0], copies[1]
		if rng.IntN(3) == 0 && len(a.lineage) > 1 {
			a.lineage = a.lineage[1:]
		}
		want := 0
		for want < min(len(a.epochs), len(b.epochs)) && a.epochs[want] == b.epochs[want] {
			want++
		}
		got, known := a.lineage.Common(ballast.LSN(len(a.epochs)), b.lineage, ballast.LSN(len(b.epochs)))
		if !known {
			unknown++
		}
		if known && got != ballast.LSN(want) || !known && a.lineage.reignAt(ballast.LSN(want)).Epoch != 0 {
			t.Fatalf("run %d: Common = %d, %t; want %d\n%v %v\n%v %v", run, got, known, want, a.lineage, a.epochs, b.lineage, b.epochs)
		}
	}
	if unknown == 0 || unknown > 1000 {
		t.Errorf("%d times of 2000 it was not known; want it sometimes", unknown)
	}
}
