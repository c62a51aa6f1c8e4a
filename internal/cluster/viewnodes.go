package cluster

import (
	"cmp"
	"maps"
	"slices"

	"github.com/ballast-io/ballast"
)

// putNode takes in a node, unless a later one is known.
func (v *view) putNode(n Node) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, known := v.nodes[n.Name]; known && old.Revision >= n.Revision {
		return
	}
	v.nodes[n.Name] = n
	v.signalLocked(change{nodes: true})
}

// dropNode takes in that a node was removed at a revision.
func (v *view) dropNode(name ballast.NodeID, rev int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, known := v.nodes[name]; !known || old.Revision >= rev {
		return
	}
	delete(v.nodes, name)
	v.signalLocked(change{nodes: true})
}

// replaceNodes takes in all the nodes that there are as of a revision. One that is known
// from a later revision is kept.
func (v *view) replaceNodes(all []Node, rev int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	nodes := map[ballast.NodeID]Node{}
	for _, n := range all {
		nodes[n.Name] = n
	}
	for name, n := range v.nodes {
		if n.Revision > rev {
			nodes[name] = n
		}
	}
	v.nodes = nodes
	v.signalLocked(change{nodes: true})
}

func (v *view) setMembers(members []Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(members) == 0 || slices.Equal(members, v.members) {
		return
	}
	v.members = members
	v.signalLocked(change{nodes: true})
}

func (v *view) allNodes() []Node {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.SortedFunc(maps.Values(v.nodes), func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
}

func (v *view) node(name ballast.NodeID) (Node, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, ok := v.nodes[name]
	return n, ok
}

func (v *view) allMembers() []Member {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.members
}
