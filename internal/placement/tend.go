package placement

import (
	"slices"

	"github.com/ballast-io/ballast"
)

// Tenders returns which node is to bring the copies of each detached volume in sync
// that lack something: the first one in sync that is up. Volumes that lack nothing that
// can be had now are not in the result. A volume whose holder stays away, or is not in the cluster
// any more, lacks somebody to let go of it in its place: else nobody would make its copies
// anew before it is attached again, and it could not be removed.
func Tenders(v View) map[ballast.VolumeID]ballast.NodeID {
	stands := v.standings()
	up := func(n ballast.NodeID) bool { return stands[n] >= leaving && stands[n] != absent && !v.away(n) }
	tenders := map[ballast.VolumeID]ballast.NodeID{}
	for _, vol := range v.Volumes {
		deserted := vol.Primary != "" && stands[vol.Primary] <= missing
		if vol.Primary != "" && !deserted {
			continue
		}
		lacks := deserted || slices.ContainsFunc(vol.Copies, func(n ballast.NodeID) bool { return up(n) && !slices.Contains(vol.InSync, n) })
		able := slices.DeleteFunc(slices.Clone(vol.InSync), func(n ballast.NodeID) bool { return !up(n) })
		if lacks && len(able) > 0 {
			tenders[vol.ID] = slices.Min(able)
		}
	}
	return tenders
}

func (v View) away(name ballast.NodeID) bool {
	return slices.ContainsFunc(v.Nodes, func(n Node) bool { return n.Name == name && n.Away > 0 })
}

// Controller returns the node that carries out plans: the first one that is up. Two
// nodes that see it differently do no harm, for records change by compare-and-swap.
func Controller(nodes []Node) ballast.NodeID {
	var first ballast.NodeID
	for _, n := range nodes {
		if n.Away == 0 && (first == "" || n.Name < first) {
			first = n.Name
		}
	}
	return first
}
