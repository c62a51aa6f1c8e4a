package placement

import (
	"cmp"
	"slices"

	"github.com/ballast-io/ballast"
)

// Reserve is what a copy leaves free on its node's disk, in bytes.
const Reserve = 1 << 30

// Copies plans which copies are to be made, and which given up. Steps for a volume
// that depend on its copies being in sync are planned when they are.
func Copies(v View) []Step {
	p := planner{View: v, stands: v.standings(), free: map[ballast.NodeID]int64{}, held: map[ballast.NodeID]int{}}
	for _, n := range v.Nodes {
		p.free[n.Name] = n.Free
	}
	for _, vol := range v.Volumes {
		for _, n := range vol.Copies {
			p.held[n]++
		}
	}
	for _, vol := range sortedVolumes(v.Volumes) {
		if len(vol.InSync) > 0 {
			p.add(vol)
			p.drop(vol)
		}
	}
	return p.steps
}

type planner struct {
	View
	stands map[ballast.NodeID]standing
	free   map[ballast.NodeID]int64 // what is left after the steps so far
	held   map[ballast.NodeID]int   // copies after the steps so far
	steps  []Step
}

// counts reports whether a copy on a node is one that is reckoned with: the node is up,
// or will be soon.
func (p *planner) counts(n ballast.NodeID) bool { return p.stands[n] >= absent }

// attainable is how many copies of a volume there can be on the nodes that there are.
func (p *planner) attainable(vol Volume) int {
	count := 0
	for _, n := range p.Nodes {
		if p.counts(n.Name) {
			count++
		}
	}
	return min(vol.Wanted, count)
}

// add makes copies where too few are reckoned with.
func (p *planner) add(vol Volume) {
	if !slices.ContainsFunc(vol.InSync, func(n ballast.NodeID) bool { return p.stands[n] >= leaving }) {
		return // there is nobody to copy from
	}
	have := 0
	why := "too few are in place"
	for _, n := range vol.Copies {
		if p.counts(n) {
			have++
			continue
		}
		why = p.reason(n)
	}
	for ; have < vol.Wanted; have++ {
		node, ok := p.place(vol)
		if !ok {
			return
		}
		vol.Copies = append(slices.Clip(vol.Copies), node)
		p.free[node] -= vol.Room
		p.held[node]++
		p.steps = append(p.steps, Step{Volume: vol.ID, Name: vol.Name, Add: node, Why: why})
	}
}

// reason says why a copy is made anew elsewhere.
func (p *planner) reason(n ballast.NodeID) string {
	switch p.stands[n] {
	case gone:
		return "node " + string(n) + " is not in the cluster any more"
	case missing:
		return "node " + string(n) + " stays away"
	case leaving:
		return "node " + string(n) + " is being drained"
	case absent, standsBy:
	}
	return "too few are in place"
}

// place finds the node for another copy: with room, and of those the one with the
// fewest copies.
func (p *planner) place(vol Volume) (ballast.NodeID, bool) {
	var fit []ballast.NodeID
	for _, n := range p.Nodes {
		if p.stands[n.Name] == standsBy && !slices.Contains(vol.Copies, n.Name) && p.free[n.Name]-vol.Room >= Reserve {
			fit = append(fit, n.Name)
		}
	}
	if len(fit) == 0 {
		return "", false
	}
	return slices.MinFunc(fit, func(a, b ballast.NodeID) int {
		return cmp.Or(cmp.Compare(p.held[a], p.held[b]), cmp.Compare(p.free[b], p.free[a]), cmp.Compare(a, b))
	}), true
}

// drop gives up one copy of a volume, the one that matters least, when it may be.
func (p *planner) drop(vol Volume) {
	for _, n := range p.leastFirst(vol) {
		if n == vol.Primary || !p.mayDrop(vol, n) {
			continue
		}
		why := p.reason(n)
		if p.counts(n) {
			why = "there are enough without it"
		}
		p.held[n]--
		p.steps = append(p.steps, Step{Volume: vol.ID, Name: vol.Name, Drop: n, Why: why})
		return // the next one when this is done
	}
}

// leastFirst orders the copies by how little they matter.
func (p *planner) leastFirst(vol Volume) []ballast.NodeID {
	inSync := func(n ballast.NodeID) int {
		if slices.Contains(vol.InSync, n) {
			return 1
		}
		return 0
	}
	return slices.SortedFunc(slices.Values(vol.Copies), func(a, b ballast.NodeID) int {
		return cmp.Or(cmp.Compare(p.stands[a], p.stands[b]), cmp.Compare(inSync(a), inSync(b)), cmp.Compare(p.held[b], p.held[a]), cmp.Compare(p.free[a], p.free[b]), cmp.Compare(a, b))
	})
}

// mayDrop reports whether the copy on n may go (L1).
func (p *planner) mayDrop(vol Volume, n ballast.NodeID) bool {
	besides := 0 // in-sync copies that are reckoned with, without this one
	for _, other := range vol.InSync {
		if other != n && p.counts(other) {
			besides++
		}
	}
	switch p.stands[n] {
	case gone:
		return besides >= max(1, vol.Needed)
	case missing: // it may come back, and be of use
		return besides >= max(1, vol.Needed, vol.Wanted)
	case leaving:
		return besides >= max(1, vol.Needed, p.attainable(vol))
	case absent:
		return false
	case standsBy:
	}
	// One too many, as after a move. It is left alone for a while: a move may be under
	// way to it. One that is still catching up becomes in sync first, or its node goes.
	return vol.Steady >= p.ReplaceAfter && slices.Contains(vol.InSync, n) && besides >= max(1, vol.Needed, vol.Wanted)
}
