package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
)

// RemoveNode takes a node out of the cluster: its certificate is refused from then on. Without force it is
// refused where something would be lost by it, or the node is up and has copies. It returns the volumes
// that have no in-sync copy any more.
func (n *node) RemoveNode(ctx context.Context, name ballast.NodeID, force bool) (lost []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	v, err := n.findNode(name)
	if err != nil {
		return nil, fmt.Errorf("remove node: %w", err)
	}
	switch {
	case name == n.cfg.Node && len(n.records.Nodes()) < 2:
		return nil, fmt.Errorf("remove node %s: it is the only one: %w", name, ballast.ErrInvalid)
	case name == n.cfg.Node:
		return nil, fmt.Errorf("remove node %s: a node does not remove itself; type this on another one, such as %s: %w", name, n.another(), ballast.ErrInvalid)
	}
	lost, why := n.whatIsLost(name)
	if v.state == nodeUp && v.copies > 0 {
		why = append(why, fmt.Sprintf("it is up and has %d of the copies: `ballast node drain %s` makes them elsewhere first", v.copies, name))
	}
	if len(why) > 0 && !force {
		return nil, fmt.Errorf("remove node %s: nothing was changed, because %s; --force removes it all the same: %w", name, strings.Join(why, "; "), ballast.ErrInUse)
	}
	// Its session first: a node that does not know yet that it was removed must not be able
	// to write while others take over. They wait for its lease, as for any that goes away.
	if err := n.records.RemoveNode(ctx, name); err != nil {
		return nil, err
	}
	n.log.Warn("node was removed from the cluster", "node", name, "forced", force, "lost", lost)
	n.forgetCopiesOf(ctx, name)
	return lost, nil
}

func (n *node) another() ballast.NodeID {
	for _, k := range n.records.Nodes() {
		if k.Name != n.cfg.Node {
			return k.Name
		}
	}
	return ""
}

// whatIsLost returns the volumes whose only in-sync copies a node has, and reasons to keep it.
func (n *node) whatIsLost(name ballast.NodeID) (lost, why []string) {
	for _, rec := range n.allRecords() {
		if rec.InTrash() && !slices.Contains(rec.InSync, name) {
			continue
		}
		others := slices.ContainsFunc(rec.InSync, func(k ballast.NodeID) bool { return k != name })
		switch {
		case slices.Contains(rec.InSync, name) && !others:
			lost = append(lost, rec.Name)
		case rec.Primary == name && n.awayFor(name) == 0:
			why = append(why, fmt.Sprintf("volume %q is attached there", rec.Name))
		}
	}
	if len(lost) > 0 {
		const most = 5
		shown := strings.Join(lost[:min(most, len(lost))], ", ")
		if len(lost) > most {
			shown += fmt.Sprintf(" and %d more", len(lost)-most)
		}
		why = append(why, fmt.Sprintf("it has the only in-sync copy of %s", shown))
	}
	return lost, why
}

// forgetCopiesOf gives up the copies of a node that is gone, where others are in sync. What
// cannot be done now placement does.
func (n *node) forgetCopiesOf(ctx context.Context, name ballast.NodeID) {
	for _, rec := range n.allRecords() {
		if rec.InTrash() || rec.Primary == name || !slices.Contains(rec.Copies, name) {
			continue
		}
		_, err := n.records.SetCopies(ctx, rec.ID, cluster.CopiesChange{Drop: name})
		if err != nil && !errors.Is(err, ballast.ErrTooFewCopies) {
			n.quiet.Warn("forget "+string(rec.ID), "the copy of a removed node is still recorded; trying again", "volume", rec.Name, "error", err)
		}
	}
}
