package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
)

// View is what one node knows of the cluster at a moment.
type View struct {
	Nodes        []Node
	Volumes      []Volume
	ReplaceAfter time.Duration // for which a node may be away before its copies are made anew elsewhere
}

// Node is a node of the cluster.
type Node struct {
	Name     ballast.NodeID
	Away     time.Duration // for which its session has been over, as this node saw it; 0: it is up
	Draining bool
	Free     int64 // bytes that it has room for
}

// Volume is a volume outside of the trash.
type Volume struct {
	ID      ballast.VolumeID
	Name    string
	Room    int64 // bytes that a copy takes
	Wanted  int   // in-sync copies that there shall be
	Needed  int   // in-sync copies below which writes wait
	Primary ballast.NodeID
	InSync  []ballast.NodeID // empty: it was never attached, and has no copy
	Copies  []ballast.NodeID
	Steady  time.Duration // for which the record names the same copies, as this node saw it
}

// Step changes which nodes hold a copy of a volume: one of Add and Drop is set.
type Step struct {
	Volume ballast.VolumeID
	Name   string // of the volume
	Add    ballast.NodeID
	Drop   ballast.NodeID
	Why    string
}

// String returns the step for people.
func (s Step) String() string {
	if s.Add != "" {
		return fmt.Sprintf("%s: copy to %s, because %s", s.Name, s.Add, s.Why)
	}
	return fmt.Sprintf("%s: no copy on %s any more, because %s", s.Name, s.Drop, s.Why)
}

// standing is what a node is worth as the place of a copy.
type standing int

const (
	gone     standing = iota // not in the cluster
	missing                  // away for so long that its copies are made anew
	leaving                  // draining
	absent                   // away, and waited for
	standsBy                 // up
)

// standings judges every node of the cluster; who is not in the result is gone.
func (v View) standings() map[ballast.NodeID]standing {
	all := map[ballast.NodeID]standing{}
	for _, n := range v.Nodes {
		switch {
		case n.Away >= v.ReplaceAfter && n.Away > 0:
			all[n.Name] = missing
		case n.Draining:
			all[n.Name] = leaving
		case n.Away > 0:
			all[n.Name] = absent
		default:
			all[n.Name] = standsBy
		}
	}
	return all
}

// Lacking returns the volumes that there are too few copies of, on nodes that are reckoned with.
func (v View) Lacking() (lacking []Volume) {
	stands := v.standings()
	for _, vol := range v.Volumes {
		have := 0
		for _, n := range vol.Copies {
			if stands[n] >= absent {
				have++
			}
		}
		if have < vol.Wanted && len(vol.InSync) > 0 {
			lacking = append(lacking, vol)
		}
	}
	return lacking
}

// WithoutRoom returns the nodes that could take another copy of a volume and have no room for it;
// none when one has.
func (v View) WithoutRoom(vol Volume) (full []Node) {
	stands := v.standings()
	for _, n := range v.Nodes {
		switch {
		case stands[n.Name] != standsBy || slices.Contains(vol.Copies, n.Name):
		case n.Free-vol.Room >= Reserve:
			return nil
		default:
			full = append(full, n)
		}
	}
	return full
}

func sortedVolumes(volumes []Volume) []Volume {
	return slices.SortedFunc(slices.Values(volumes), func(a, b Volume) int { return cmp.Compare(a.ID, b.ID) })
}
