package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/cluster"
)

// drainStep is what is left to do for one volume before a node can be switched off.
type drainStep struct {
	volume     string
	doing      string
	done, size uint64 // bytes of the volume that are copied, of all; 0: nothing is, or it is not known
}

// drainEvery is how often a drain says what is left.
const drainEvery = time.Second

// Drain has every copy of a node made elsewhere, and tells report what is left until nothing
// is, or ctx ends: the node goes on draining then.
func (n *node) Drain(ctx context.Context, name ballast.NodeID, report func([]drainStep) error) error {
	v, err := n.findNode(name)
	if err != nil {
		return fmt.Errorf("drain node: %w", err)
	}
	if len(n.records.Nodes()) < 2 {
		return fmt.Errorf("drain node %s: it is the only one: there is nowhere to copy to; `ballast token create` lets another machine join: %w", name, ballast.ErrInvalid)
	}
	if others := n.takers(name); len(others) == 0 {
		return fmt.Errorf("drain node %s: no other node is up and takes copies: %w", name, ballast.ErrInvalid)
	}
	if !v.Draining {
		if _, err := n.records.SetDraining(ctx, name, true); err != nil {
			return err
		}
		n.log.Info("node is drained", "node", name)
	}
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		left := n.leftToDrain(ctx, name)
		if err := report(left); err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("drain node %s: it goes on; `ballast node drain %s` shows how far it is: %w", name, name, ctx.Err())
		}
		if k, ok := n.records.Node(name); !ok || !k.Draining {
			return fmt.Errorf("drain node %s: the drain was undone meanwhile: %w", name, ballast.ErrInvalid)
		}
	}
}

// UndoDrain lets a node take copies again.
func (n *node) UndoDrain(ctx context.Context, name ballast.NodeID) error {
	if _, err := n.findNode(name); err != nil {
		return fmt.Errorf("undo drain: %w", err)
	}
	if _, err := n.records.SetDraining(ctx, name, false); err != nil {
		return err
	}
	n.log.Info("node takes copies again", "node", name)
	return nil
}

// takers are the nodes that copies can go to from name.
func (n *node) takers(name ballast.NodeID) (takers []ballast.NodeID) {
	for _, k := range n.records.Nodes() {
		if k.Name != name && !k.Draining && n.awayFor(k.Name) == 0 {
			takers = append(takers, k.Name)
		}
	}
	return takers
}

// leftToDrain says what is left to do for each volume that has something on a node, by name.
func (n *node) leftToDrain(ctx context.Context, name ballast.NodeID) (left []drainStep) {
	for _, rec := range n.allRecords() {
		doing, coming := n.drainStepOf(ctx, rec, name)
		if doing == "" {
			continue
		}
		step := drainStep{volume: rec.Name, doing: doing}
		if len(coming) > 0 {
			step.done, step.size = n.copiedTo(ctx, rec, coming)
		}
		left = append(left, step)
	}
	return left
}

// drainStepOf says what is left to do for a volume, empty for nothing, and to which nodes it is
// copied for that.
func (n *node) drainStepOf(ctx context.Context, rec cluster.Record, name ballast.NodeID) (doing string, coming []string) {
	switch {
	case rec.Primary != name && !slices.Contains(rec.Copies, name):
		return "", nil
	case rec.InTrash():
		return fmt.Sprintf("in the trash until %s: ballast volume restore %s, or wait", rec.RemovedAt.Add(n.cfg.TrashKeep).Format(time.RFC3339), rec.Name), nil
	}
	takers := n.takers(name)
	enough := 0
	for _, taker := range takers {
		switch {
		case slices.Contains(rec.InSync, taker):
			enough++
		case slices.Contains(rec.Copies, taker):
			coming = append(coming, string(taker))
		}
	}
	wanted := min(rec.Spec.CopiesWanted(len(n.records.Nodes())), len(takers))
	switch {
	case enough < wanted && len(coming) > 0:
		return "copying to " + strings.Join(coming, ", "), coming
	case enough < max(1, wanted):
		return "waiting for a node with room", nil
	case rec.Primary == name:
		return n.attachedStep(ctx, rec), nil
	}
	return "giving up the copy", nil
}

// copiedTo returns how many bytes of a volume the furthest of some nodes has, as its primary
// says, and of how many; 0 of 0 when nobody says.
func (n *node) copiedTo(ctx context.Context, rec cluster.Record, nodes []string) (done, size uint64) {
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	var copies []*v1.Copy
	if rec.Primary == n.cfg.Node {
		copies = copyMessages(n.look(rec))
	} else if v := n.inspectElsewhere(ctx, rec); v != nil {
		copies = v.GetCopies()
	}
	return furthest(copies, nodes)
}

func furthest(copies []*v1.Copy, nodes []string) (done, size uint64) {
	for _, c := range copies {
		if p := c.GetProgress(); p != nil && slices.Contains(nodes, c.GetNode()) && p.GetDoneBytes() >= done {
			done, size = p.GetDoneBytes(), p.GetTotalBytes()
		}
	}
	return done, size
}

// attachedStep says who has to let go of a volume that has enough in-sync copies elsewhere, and what to
// type for that.
func (n *node) attachedStep(ctx context.Context, rec cluster.Record) string {
	to := "NODE"
	for _, taker := range n.takers(rec.Primary) {
		if slices.Contains(rec.InSync, taker) {
			to = string(taker)
			break
		}
	}
	return sayAttached(rec.Name, to, n.holdersAt(ctx, rec))
}

// sayAttached is what is left to do for a volume whose holders are known, or nil; to has all of it.
func sayAttached(name, to string, holders []string) string {
	move := fmt.Sprintf("ballast volume move %s %s", name, to)
	isDocker := func(h string) bool { return strings.HasPrefix(h, dockerHolder) }
	switch {
	case holders == nil:
		return "attached there; node " + to + " has all of it: stop what uses it, or type: " + move
	case len(holders) == 0:
		return "being detached"
	case slices.ContainsFunc(holders, isDocker):
		return "attached, and used by containers of Docker's there; node " + to + " has all of it: stop them, and start them on " + to + "; `docker ps --filter volume=" + name + "` there shows them"
	}
	return "attached, and held by " + strings.Join(holders, ", ") + "; node " + to + " has all of it, and takes it over when you type: " + move
}

// holdersAt returns who holds an attached volume; nil: its node does not say.
func (n *node) holdersAt(ctx context.Context, rec cluster.Record) []string {
	if s := n.peek(rec.ID); s != nil && rec.Primary == n.cfg.Node {
		return append([]string{}, s.remembered().names()...)
	}
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	if v := n.inspectElsewhere(ctx, rec); v != nil {
		return append([]string{}, v.GetHolders()...)
	}
	return nil
}
