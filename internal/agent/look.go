package agent

import (
	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/engine"
)

// state is what a volume is doing on this node.
type state string

const (
	stateDetached  state = "detached"
	stateAttached  state = "attached"
	stateAttaching state = "attaching"
	stateFailed    state = "failed" // its engine died, and nobody attached it since
	stateTrash     state = "trash"
)

func states() []state {
	return []state{stateDetached, stateAttached, stateAttaching, stateFailed, stateTrash}
}

// volumeView is what is known of a volume at one moment.
type volumeView struct {
	record     cluster.Record
	state      state
	mountpoint string
	loop       string
	holders    []string
	status     engine.Status // zero when no engine has answered yet
	usedBytes  int64
	conditions []condition
	archive    *archiveView // nil where the volume is not archived

	hydrationRate int64 // bytes per second, lately

	wanted int        // in-sync copies that there shall be
	copies []copyView // on every node that has one or is to have one
}

// look puts together what is known of a volume, from memory alone (A5).
func (n *node) look(rec cluster.Record) volumeView {
	v := volumeView{record: rec, state: stateDetached, conditions: n.health.of(rec.ID), wanted: rec.Spec.CopiesWanted(max(1, len(n.records.Nodes())))}
	if n.cfg.archives() && archiver.Keeps(rec.Spec.Class) {
		v.archive = &archiveView{}
	}
	if s := n.peek(rec.ID); s != nil {
		s.describe(&v)
	}
	switch {
	case rec.InTrash():
		v.state = stateTrash
	case (v.state == stateDetached || v.state == stateFailed) && rec.Primary != "" && rec.Primary != n.cfg.Node:
		v.state = stateAttached // there
	}
	var status *engine.Status
	if v.mountpoint != "" {
		status = &v.status
	}
	v.copies = viewCopies(rec, status, n.isAway)
	return v
}

// isAway reports whether a node is away, or not in the cluster any more.
func (n *node) isAway(node ballast.NodeID) bool {
	if node == n.cfg.Node {
		return false
	}
	_, known := n.records.Node(node)
	return !known && len(n.records.Nodes()) > 0 || n.records.Session(node).Over
}

func (s *slot) describe(v *volumeView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.usedBytes, v.hydrationRate = s.usedBytes, s.arrival.rate()
	if v.archive != nil {
		s.describeArchive(v.archive)
	}
	for _, holder := range s.state.names() {
		for range s.state.Holders[holder].Count {
			v.holders = append(v.holders, holder)
		}
	}
	switch {
	case s.attached != nil && s.attached.tending.Load():
		v.status = s.status
	case s.attached != nil:
		v.state, v.mountpoint, v.loop, v.status = stateAttached, s.attached.mountpoint, s.attached.loop, s.status
	case s.flight != nil || s.processing == "attaching":
		v.state = stateAttaching
	case s.failed:
		v.state = stateFailed
	}
}

// listViews returns the volumes in or outside of the trash, sorted by name.
func (n *node) listViews(trash bool) []volumeView {
	records := n.records.List()
	if trash {
		records = n.records.Trash()
	}
	views := make([]volumeView, len(records))
	for i, rec := range records {
		views[i] = n.look(rec)
	}
	return views
}

// nameOf returns a volume's name for people, or its id when that is not known.
func (n *node) nameOf(id ballast.VolumeID) string {
	if rec, err := n.records.ByID(id); err == nil {
		return rec.Name
	}
	return string(id)
}
