package agent

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/placement"
)

// nodeState is what a node is doing, as this one sees it.
type nodeState string

const (
	nodeUp       nodeState = "up"
	nodeAway     nodeState = "away"
	nodeDraining nodeState = "draining"
	nodeDrained  nodeState = "drained" // it has no copy any more, and can be switched off
)

// nodeView is what is known of a node at one moment.
type nodeView struct {
	cluster.Node
	state            nodeState
	since            time.Time // of the state, as this node saw it
	member           bool
	free, size       uint64 // bytes of disk; 0: not known
	primaries        int
	copies           int
	certificateUntil time.Time // of this node's own, or where another one was asked; zero: not known
}

// sightings remembers since when each node is in its state.
type sightings struct {
	mu   sync.Mutex // guards seen
	seen map[ballast.NodeID]sighting
}

type sighting struct {
	state nodeState
	since time.Time
}

// note returns since when a node is in a state, of which it has been so for at least a while.
func (s *sightings) note(node ballast.NodeID, state nodeState, atLeast time.Duration) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[node].state != state {
		s.seen[node] = sighting{state, time.Now().Add(-atLeast)}
	}
	return s.seen[node].since
}

// listNodes returns the nodes of the cluster by name, from memory; a node on its own
// is the only one.
func (n *node) listNodes() []nodeView {
	known := n.records.Nodes()
	if len(known) == 0 {
		known = []cluster.Node{{Name: n.cfg.Node, Version: n.cfg.Version}}
	}
	views := make([]nodeView, len(known))
	for i, k := range known {
		views[i] = n.lookAtNode(k)
	}
	return views
}

func (n *node) lookAtNode(k cluster.Node) nodeView {
	v := nodeView{Node: k, state: nodeUp}
	v.primaries, v.copies = n.countCopies(k.Name)
	away := n.awayFor(k.Name)
	switch {
	case away > 0:
		v.state = nodeAway
	case k.Draining && v.copies == 0:
		v.state = nodeDrained
	case k.Draining:
		v.state = nodeDraining
	}
	v.since = n.sightings.note(k.Name, v.state, away)
	v.member = n.isMember(k.Name)
	if k.Name != n.cfg.Node {
		session := n.records.Session(k.Name)
		v.free, v.size = uint64(max(0, session.Free)), uint64(max(0, session.Size))
		return v
	}
	if size, free, err := diskSpace(n.cfg.DataDir); err == nil {
		v.size, v.free = size, free
	}
	if net := n.network(); net != nil {
		_, v.certificateUntil = net.own.Validity()
	}
	return v
}

func (n *node) isMember(name ballast.NodeID) bool {
	if len(n.cfg.Etcd) > 0 {
		return false
	}
	members := n.records.Members()
	if len(members) == 0 {
		return name == n.cfg.Node
	}
	return slices.ContainsFunc(members, func(m cluster.Member) bool { return m.Node == name })
}

// awayFor returns how long a node's session has been over, as this node saw it; 0: it is up.
func (n *node) awayFor(name ballast.NodeID) time.Duration {
	if name == n.cfg.Node {
		return 0
	}
	session := n.records.Session(name)
	if !session.Over {
		return 0
	}
	return max(time.Nanosecond, session.Quiet-session.Lease)
}

// countCopies returns how many volumes a node holds, and how many copies it has or is to have.
func (n *node) countCopies(name ballast.NodeID) (primaries, copies int) {
	for _, rec := range n.allRecords() {
		if rec.Primary == name {
			primaries++
		}
		if slices.Contains(rec.Copies, name) {
			copies++
		}
	}
	return primaries, copies
}

// allRecords returns the volumes, those in the trash as well.
func (n *node) allRecords() []cluster.Record { return append(n.records.List(), n.records.Trash()...) }

// findNode returns one node. The error is [ballast.ErrNotFound].
func (n *node) findNode(name ballast.NodeID) (nodeView, error) {
	for _, v := range n.listNodes() {
		if v.Name == name {
			return v, nil
		}
	}
	return nodeView{}, fmt.Errorf("there is no node %q: %w", name, ballast.ErrNotFound)
}

// volumesOn returns the volumes that have, or are to have, a copy on a node.
func (n *node) volumesOn(name ballast.NodeID) (views []volumeView) {
	for _, v := range n.listViews(false) {
		if slices.Contains(v.record.Copies, name) || v.record.Primary == name {
			views = append(views, v)
		}
	}
	return views
}

// clusterView is what placement decides on.
func (n *node) clusterView() placement.View {
	view := placement.View{ReplaceAfter: n.cfg.ReplaceAfter}
	nodes := n.records.Nodes()
	for _, k := range nodes {
		view.Nodes = append(view.Nodes, placement.Node{
			Name: k.Name, Away: n.awayFor(k.Name), Draining: k.Draining, Free: n.roomOn(k.Name),
		})
	}
	for _, rec := range n.records.List() {
		view.Volumes = append(view.Volumes, placement.Volume{
			ID: rec.ID, Name: rec.Name, Room: n.roomFor(rec),
			Wanted: rec.Spec.CopiesWanted(len(nodes)), Needed: rec.Spec.CopiesNeeded(),
			Primary: rec.Primary, InSync: rec.InSync, Copies: rec.Copies, Steady: n.steady.of(rec),
		})
	}
	return view
}

// roomOn returns how many bytes a node has room for.
func (n *node) roomOn(name ballast.NodeID) int64 {
	if name != n.cfg.Node {
		return n.records.Session(name).Free
	}
	return n.room()
}

// room returns how many bytes this node has room for.
func (n *node) room() int64 {
	_, free, err := diskSpace(n.cfg.DataDir)
	if err != nil {
		return 0
	}
	return int64(free)
}

// steadiness remembers since when the record of each volume names the same copies.
type steadiness struct {
	mu   sync.Mutex // guards seen
	seen map[ballast.VolumeID]steadyRecord
}

type steadyRecord struct {
	copies, inSync []ballast.NodeID
	primary        ballast.NodeID
	since          time.Time // only its monotonic part counts
}

// of returns for how long rec has named the same copies.
func (s *steadiness) of(rec cluster.Record) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, known := s.seen[rec.ID]
	if !known || was.primary != rec.Primary || !slices.Equal(was.copies, rec.Copies) || !slices.Equal(was.inSync, rec.InSync) {
		was = steadyRecord{rec.Copies, rec.InSync, rec.Primary, time.Now()}
		s.seen[rec.ID] = was
	}
	return time.Since(was.since)
}

// forget drops what is remembered of volumes that are gone.
func (s *steadiness) forget(exists func(ballast.VolumeID) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.seen {
		if !exists(id) {
			delete(s.seen, id)
		}
	}
}
