package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/replica"
)

// candidate is a copy that a volume can go on from.
type candidate struct {
	node   ballast.NodeID
	state  copyState
	inSync bool
	err    error // why it cannot be used
}

// failoverPlan is how a volume can go on whose in-sync copies cannot be reached.
type failoverPlan struct {
	record     cluster.Record
	candidates []candidate // the best one first
	choice     ballast.NodeID
	loses      string
}

// PlanFailover asks every node what it has of a volume, and decides from which copy it
// can go on, and what that loses. With asked, it is that node's.
func (n *node) PlanFailover(ctx context.Context, name string, asked ballast.NodeID) (failoverPlan, error) {
	rec, err := n.records.Get(name)
	if err != nil {
		return failoverPlan{}, fmt.Errorf("plan failover of volume: %w", err)
	}
	if rec, err = n.readInTime(ctx, rec); err != nil {
		return failoverPlan{}, fmt.Errorf("plan failover of volume %q: %w", name, err)
	}
	plan := failoverPlan{record: rec, candidates: n.askCopies(ctx, rec)}
	if err := plan.choose(asked); err != nil {
		return plan, fmt.Errorf("plan failover of volume %q: %w", name, err)
	}
	return plan, nil
}

// readInTime reads a record from a quorum, which may not be there when copies are lost.
func (n *node) readInTime(ctx context.Context, rec cluster.Record) (cluster.Record, error) {
	read, err := n.mustAnswer(ctx, rec.ID)
	if errors.Is(err, ballast.ErrNotReady) {
		return rec, fmt.Errorf("without the records no copy can be made to count; first start the nodes that keep them: %w", err)
	}
	return read, err
}

// askCopies asks every node that has, had or may have a copy, side by side.
func (n *node) askCopies(ctx context.Context, rec cluster.Record) []candidate {
	nodes := slices.Clone(rec.Copies)
	for _, other := range append(n.records.Nodes(), cluster.Node{Name: n.cfg.Node}) {
		if !slices.Contains(nodes, other.Name) {
			nodes = append(nodes, other.Name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, prepareBudget)
	defer cancel()
	answers := make(chan candidate, len(nodes))
	for _, node := range nodes {
		go func() { // ends with ctx, and is waited for
			c := candidate{node: node, inSync: slices.Contains(rec.InSync, node)}
			if node == n.cfg.Node {
				c.state = n.copyHere(ctx, rec.ID)
			} else {
				c.state, c.err = n.askCopy(ctx, node, rec.ID)
			}
			answers <- c
		}()
	}
	var found []candidate
	for range nodes {
		c := <-answers
		if c.err == nil && !c.state.Here {
			if !c.inSync {
				continue // it has nothing, and nobody thinks so
			}
			c.err = fmt.Errorf("its files are missing: %w", ballast.ErrNotFound)
		}
		found = append(found, c)
	}
	return found
}

// askCopy asks another node what it has of a volume.
func (n *node) askCopy(ctx context.Context, node ballast.NodeID, id ballast.VolumeID) (copyState, error) {
	st, err := n.peers.Copy(ctx, node, id)
	switch {
	case err == nil:
		return st, nil
	case n.records.Session(node).Over:
		return st, fmt.Errorf("node %s is away: %w", node, ballast.ErrNotReady)
	}
	return st, fmt.Errorf("node %s: %w", node, err)
}

// usable says why a copy cannot be gone on from.
func (c candidate) usable() error {
	switch {
	case c.err != nil:
		return c.err
	case c.state.Err != "":
		return fmt.Errorf("%s", c.state.Err)
	case !c.state.State.Complete:
		return fmt.Errorf("it is not complete: %w", ballast.ErrNotReady)
	}
	return nil
}

// choose puts the candidates in order, and decides which one it is.
func (p *failoverPlan) choose(asked ballast.NodeID) error {
	slices.SortFunc(p.candidates, func(a, b candidate) int { return compareNames(a.node, b.node) })
	p.candidates = bestFirst(p.candidates, p.record.Branch)
	for _, c := range p.candidates {
		if asked != "" && c.node != asked {
			continue
		}
		if err := c.usable(); err != nil {
			if asked == "" {
				continue
			}
			return fmt.Errorf("the copy on node %s cannot be used: %w", asked, err)
		}
		p.choice, p.loses = c.node, p.lossOf(c)
		return nil
	}
	if asked != "" {
		return fmt.Errorf("node %s has no copy: %w", asked, ballast.ErrNotFound)
	}
	p.loses = "no copy can be used: start one of the nodes that have one, or bring the volume back from the archive with `ballast volume restore`"
	return nil
}

func compareNames(a, b ballast.NodeID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// bestFirst puts usable copies that are in sync first, then usable ones from that on which has
// the most of the branch.
func bestFirst(all []candidate, branch replica.Branch) (sorted []candidate) {
	for _, c := range all {
		if c.inSync && c.usable() == nil {
			sorted = append(sorted, c)
		}
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return c.inSync && c.usable() == nil })
	for len(rest) > 0 {
		choices := make([]replica.Candidate, len(rest))
		for i, c := range rest {
			choices[i] = replica.Candidate{Node: c.node, State: c.state.State}
			choices[i].State.Complete = c.usable() == nil
		}
		best := max(0, replica.Choose(choices, branch)) // none is usable: by name
		sorted = append(sorted, rest[best])
		rest = slices.Delete(rest, best, best+1)
	}
	return sorted
}

// lossOf says in words what is lost by going on from a copy.
func (p *failoverPlan) lossOf(c candidate) string {
	if c.inSync {
		return "nothing: the copy on node " + string(c.node) + " has every write that was acknowledged"
	}
	ends := fmt.Sprintf("record %d of epoch %d, which is where the copy on node %s ends", c.state.State.Last, lastEpochOf(c.state), c.node)
	if f := p.setAside(c); f != nil {
		return fmt.Sprintf("every write that was acknowledged since %s, when %s forced the volume to go on from record %d on node %s: they are on %s; and writes that were given up then come back, up to %s",
			f.At.UTC().Format(time.RFC3339), f.By, f.LSN, f.Node, joinNodes(p.record.InSync), ends)
	}
	return fmt.Sprintf("every write that was acknowledged after %s; all of them are on %s", ends, joinNodes(p.record.InSync))
}

// setAside returns the failover that set a copy aside: what it has then is not, or not all, of
// the history that counts. Of most copies it is nil.
func (p *failoverPlan) setAside(c candidate) *cluster.Forced {
	if n := len(p.record.Forced); n > 0 && p.record.Branch.SetAside(c.state.State) && c.state.State.Lineage.Epoch() < p.record.Forced[n-1].Epoch {
		return &p.record.Forced[n-1]
	}
	return nil
}

func lastEpochOf(c copyState) (epoch ballast.Epoch) {
	for _, r := range c.State.Lineage {
		if r.From <= c.State.Last {
			epoch = r.Epoch
		}
	}
	return epoch
}

// ApplyFailover makes the copy on this node the one that counts, by the operator's word,
// which is recorded. One that is in sync counts already.
func (n *node) ApplyFailover(ctx context.Context, plan failoverPlan) (cluster.Record, error) {
	rec := plan.record
	if slices.Contains(rec.InSync, n.cfg.Node) {
		return rec, nil
	}
	s := n.slot(rec.ID)
	if err := n.acquire(ctx, s, "failing over"); err != nil {
		return rec, err
	}
	defer s.release()
	i := slices.IndexFunc(plan.candidates, func(c candidate) bool { return c.node == n.cfg.Node })
	if i < 0 {
		return rec, fmt.Errorf("force failover of volume %q: there is no copy here: %w", rec.Name, ballast.ErrNotFound)
	}
	at := plan.candidates[i].state.State
	claimed, err := n.records.Claim(ctx, rec.ID, cluster.ClaimRequest{
		Floor:  s.remembered().Epoch,
		Force:  &cluster.Forced{At: time.Now().UTC().Truncate(time.Millisecond), By: "operator on " + string(n.cfg.Node), LSN: at.Last, Reason: plan.loses},
		Stands: at,
	})
	if err != nil {
		return rec, fmt.Errorf("force failover: %w", err)
	}
	n.log.Warn("an operator forced a copy to count", "volume", rec.Name, "volume_id", rec.ID, "epoch", uint64(claimed.Epoch), "lsn", uint64(at.Last), "loses", plan.loses)
	if err := n.noteClaim(s, rec, claimed); err != nil {
		return claimed, err
	}
	if err := n.following.Take(ctx, rec.ID, claimed.Epoch); err != nil {
		return claimed, err
	}
	return n.records.Release(ctx, rec.ID, claimed.Epoch)
}
