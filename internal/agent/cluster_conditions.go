package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
)

// The conditions of a cluster.
const (
	condRemoved      = "node-removed"
	condGivenUp      = "node-given-up"
	condNodeAway     = "node-away"
	condQuorumAtRisk = "quorum-at-risk"
	condTooFewCopies = "too-few-copies"
	condTooFewNodes  = "too-few-nodes"
	condNoCopy       = "no-copy-reachable"
	condNotJoined    = "not-joined"
	condArchives     = "archives-differ"
)

// noteCluster says what an operator should know of the cluster, from memory.
func (n *node) noteCluster() {
	if n.network() == nil || n.givenUp.Load() != nil {
		return
	}
	nodes := n.records.Nodes()
	if n.noteRemoved(nodes) {
		n.health.clear("", condNodeAway, condQuorumAtRisk, condArchives, condRecords) // of a cluster that this node is not in
		return
	}
	n.noteAway()
	n.noteQuorum(nodes)
	n.noteArchives(nodes)
	for _, rec := range n.records.List() {
		n.noteCopies(rec, len(nodes))
		if rec.Primary != "" && rec.Primary != n.cfg.Node { // who writes it now says how it is archived, and what uses it does so there
			n.health.clear(rec.ID, condEngineFailed, archiver.CondBehind, archiver.CondFenced, archiver.CondGap, archiver.CondHydration)
		}
	}
}

// noteRemoved says that the cluster does not know this node any more, and reports whether
// that is so.
func (n *node) noteRemoved(nodes []cluster.Node) bool {
	generation, known := n.nodeGeneration(n.cfg.Node)
	ready, _ := n.records.Ready()
	in := len(nodes) == 0 || known && generation == n.network().own.Self().Generation
	if in && (ready || !n.refused.Load()) {
		n.refused.Store(false)
		n.health.clear("", condRemoved)
		return false
	}
	n.health.raise("", condRemoved, "This node was removed from its cluster, or its certificate has ended: no other node speaks to it, and what it has of volumes is not used.",
		"`ballast join TOKEN ADDRESS`, with a token from a node of the cluster, makes it one again")
	return true
}

// askWhetherRemoved asks the other nodes whether they let this one in, when the records cannot be
// read: a node that was removed while it was away hears of it nowhere else.
func (n *node) askWhetherRemoved(ctx context.Context) {
	if ready, _ := n.records.Ready(); ready {
		return
	}
	stored, _ := n.clusterInfo()
	for _, other := range stored.Peers {
		if other.Node == n.cfg.Node {
			continue
		}
		refused, err := n.network().dialer.Refused(ctx, other.Node, other.Address)
		if err != nil {
			continue
		}
		n.refused.Store(refused)
		if !refused {
			return // one that lets it in is enough
		}
	}
}

func (n *node) noteAway() {
	var away []string
	for _, v := range n.listNodes() { // which notes since when
		if v.state == nodeAway {
			away = append(away, string(v.Name))
		}
	}
	if len(away) == 0 {
		n.health.clear("", condNodeAway)
		return
	}
	n.health.raise("", condNodeAway, fmt.Sprintf("Nodes are away: %s. Volumes with in-sync copies elsewhere go on; copies are made anew after %s.", strings.Join(away, ", "), plainly(n.cfg.ReplaceAfter)),
		"start the machine and its agent; or, when it is lost for good: ballast node rm "+away[0])
}

// noteQuorum says that the loss of one node would end changes of the records.
func (n *node) noteQuorum(nodes []cluster.Node) {
	members := n.records.Members()
	voters, there := 0, 0
	for _, m := range members {
		if m.Learner {
			continue
		}
		voters++
		if n.awayFor(m.Node) == 0 {
			there++
		}
	}
	switch {
	case len(n.cfg.Etcd) > 0 || voters == 0:
		n.health.clear("", condQuorumAtRisk)
	case len(nodes) == 2:
		keeper := members[0].Node
		n.health.raise("", condQuorumAtRisk, fmt.Sprintf("The cluster has two nodes, and %s alone keeps its records: when that one is away no volume can be taken over or attached.", keeper),
			"let a third machine join, which needs no volumes: ballast token create")
	case there == voters/2+1 && there < voters: // with fewer the records cannot be read, which is said
		n.health.raise("", condQuorumAtRisk, fmt.Sprintf("Only %d of the %d nodes that keep the records are there: when another one goes away no volume can be taken over or attached.", there, voters),
			"start the nodes that are away; see `ballast node ls`")
	default:
		n.health.clear("", condQuorumAtRisk)
	}
}

// plainly writes a duration without the zeros at its end: 10m, not 10m0s.
func plainly(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// noteArchives says that this node has not the archive that another one has: the history of a volume
// that goes from the one to the other does not go with it.
func (n *node) noteArchives(nodes []cluster.Node) {
	own, without, other := n.archiveID(), []string(nil), []string(nil)
	for _, k := range nodes {
		theirs := own
		if k.Name != n.cfg.Node {
			theirs = n.records.Session(k.Name).Archive
		}
		switch {
		case theirs == noArchive:
			without = append(without, string(k.Name))
		case theirs != "" && theirs != own:
			other = append(other, string(k.Name))
		}
	}
	title := archivesTitle(string(n.cfg.Node), own, without, other, len(nodes))
	if own == "" || title == "" {
		n.health.clear("", condArchives)
		return
	}
	n.health.raise("", condArchives, title, "give every node of the cluster the same --archive and its password, and start their agents again; attached volumes work on")
}

// archivesTitle says what follows from nodes that have no archive, and those that have another one
// than node; empty: nothing.
func archivesTitle(node, own string, without, other []string, nodes int) string {
	switch {
	case own == noArchive && len(other) > 0:
		return fmt.Sprintf("This node archives nothing, unlike %s: what is written to a volume here is in no archive.", strings.Join(other, ", "))
	case own != noArchive && len(other) > 0:
		return fmt.Sprintf("Not all nodes have the archive of %s: another one is used on %s. The history of a volume begins anew when it goes from the one to the other; what is in the first can be restored on nodes that have it.", node, strings.Join(other, ", "))
	case own != noArchive && len(without) > 0 && len(without) < nodes:
		return fmt.Sprintf("Nodes that archive nothing: %s. What is written to a volume there is in no archive.", strings.Join(without, ", "))
	}
	return ""
}

// noteCopies says that a volume has fewer in-sync copies than it shall have.
func (n *node) noteCopies(rec cluster.Record, nodes int) {
	wanted := rec.Spec.CopiesWanted(nodes)
	n.noteNoCopy(rec)
	if rec.Epoch == 0 || !n.isConcerned(rec) || len(rec.InSync) >= wanted || n.health.holds(rec.ID, condNoCopy) {
		n.health.clear(rec.ID, condTooFewCopies, condTooFewNodes)
		return
	}
	if wanted > nodes {
		n.health.raise(rec.ID, condTooFewNodes, fmt.Sprintf("Volume %q shall have %d copies on a cluster of %d; in sync: %d.", rec.Name, wanted, nodes, len(rec.InSync)),
			"let another machine join: ballast token create")
		n.health.clear(rec.ID, condTooFewCopies)
		return
	}
	n.health.clear(rec.ID, condTooFewNodes)
	title := fmt.Sprintf("Volume %q shall have %d copies in sync and has %d: %s", rec.Name, wanted, len(rec.InSync), n.riskOf(rec))
	if full := n.whyNoRoom(rec); full != "" {
		n.health.raise(rec.ID, condTooFewCopies, title+" "+full, "make room on one of them, or let another machine join: ballast token create; the copy is made by itself then")
		return
	}
	n.health.raise(rec.ID, condTooFewCopies, title, "see `ballast volume inspect "+rec.Name+"`; a copy is made by itself where a node is up and has room")
}

// noteNoCopy says that a volume cannot be attached, for all that has its latest writes is away.
func (n *node) noteNoCopy(rec cluster.Record) {
	if !n.isStranded(rec) {
		n.health.clear(rec.ID, condNoCopy)
		return
	}
	n.health.raise(rec.ID, condNoCopy, fmt.Sprintf("Volume %q cannot be attached: every node with an in-sync copy is away: %s. Nothing acknowledged is lost if one of them comes back.", rec.Name, joinNodes(rec.InSync)),
		"start one of them; if all are lost for good, see what going on without them loses: ballast volume failover "+rec.Name)
}

// isStranded reports whether no in-sync copy of a volume can be reached that matters. Without
// the records, everybody seems to be away.
func (n *node) isStranded(rec cluster.Record) bool {
	ready, _ := n.records.Ready()
	if !ready || len(rec.InSync) == 0 || !rec.Formatted || rec.Spec.Class == ballast.Scratch || rec.Spec.Class == ballast.Cache {
		return false
	}
	return !slices.ContainsFunc(rec.InSync, func(k ballast.NodeID) bool { return !n.isAway(k) })
}

// isConcerned reports whether this node is the one to say something of a volume: who holds
// it, and of a detached one who has a copy.
func (n *node) isConcerned(rec cluster.Record) bool {
	if rec.Primary != "" && n.awayFor(rec.Primary) == 0 {
		return rec.Primary == n.cfg.Node
	}
	return slices.Contains(rec.Copies, n.cfg.Node)
}

func (n *node) riskOf(rec cluster.Record) string {
	if len(rec.InSync) == 1 {
		return fmt.Sprintf("were node %s lost, so were its latest writes.", rec.InSync[0])
	}
	var names []string
	for _, k := range rec.InSync {
		names = append(names, string(k))
	}
	return "nothing is lost as long as one of " + strings.Join(names, ", ") + " is left."
}
