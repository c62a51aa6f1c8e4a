package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// tally is what came of a campaign.
type tally struct {
	start     time.Time
	elapsed   time.Duration
	rounds    int
	failovers int // in which another became the primary
	waited    int // of them, after all was mended
	survived  int
	acks      int
	compared  int // copies
	took      []time.Duration
	faults    map[string]int

	rebuilds int
	ways     map[string]int // that copies were rebuilt by
	wanted   map[string]int // rounds that should have shown that way
	did      map[string]int // by scribblers, while a copy was rebuilt
}

func (t *tally) add(r *round) {
	if t.faults == nil {
		t.faults = map[string]int{}
	}
	t.rounds++
	t.faults[r.loss]++
	t.faults[r.disturbance]++
	t.compared += r.compared.copies
	if r.rebuilt.rebuilds > 0 {
		r.rebuilt.addTo(t)
	}
	if r.survived {
		t.survived++
		return
	}
	n, _ := r.user.heard.Acks()
	t.acks += n
	t.failovers++
	if r.waited {
		t.waited++
		return
	}
	t.took = append(t.took, r.took)
}

// mostByThemselves is how many primaries may be lost by themselves before it says nothing any more.
func (t *tally) mostByThemselves() int { return 2 + t.rounds/4 }

// says returns why a campaign shows too little (K2).
func (t *tally) says() error {
	switch n := t.faults[byItself]; {
	case t.rate() < leastRate:
		return fmt.Errorf("only %.1f writes a second were acknowledged: %w", t.rate(), errIdle)
	case n > t.mostByThemselves():
		return fmt.Errorf("%d primaries of %d were lost by themselves: this machine is too busy, or their leases are not renewed as they should be", n, t.rounds)
	}
	return nil
}

// percentile returns the p-th of 100 of the times that failovers took.
func (t *tally) percentile(p int) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t.took))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

// rate is acknowledgements per second.
func (t *tally) rate() float64 {
	if t.elapsed == 0 {
		return 0
	}
	return float64(t.acks) / t.elapsed.Seconds()
}

func (t *tally) print(w io.Writer) {
	fmt.Fprintf(w, "rounds=%d failovers=%d (%d after all was mended) survived=%d in %.0f s\n", t.rounds, t.failovers, t.waited, t.survived, t.elapsed.Seconds())
	fmt.Fprintf(w, "acks=%d (%.0f a second) copies_compared=%d\n", t.acks, t.rate(), t.compared)
	fmt.Fprintf(w, "first acknowledgement elsewhere: p50 %.2f s, p99 %.2f s, of %d\n", t.percentile(50).Seconds(), t.percentile(99).Seconds(), len(t.took))
	for _, name := range slices.Sorted(maps.Keys(t.faults)) {
		fmt.Fprintf(w, "  %4d × %s\n", t.faults[name], name)
	}
	all := maps.Clone(t.wanted)
	maps.Copy(all, t.ways)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(w, "  %4d × rebuilt: %s\n", t.ways[name], name)
	}
	for _, name := range slices.Sorted(maps.Keys(t.did)) {
		fmt.Fprintf(w, "  %4d × %s, while a copy was rebuilt\n", t.did[name], name)
	}
}
