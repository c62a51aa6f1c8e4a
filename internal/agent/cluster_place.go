package agent

import (
	"context"
	"errors"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/placement"
)

// lookAtCluster does what is due for the cluster, and says what an operator should know of it.
func (n *node) lookAtCluster(ctx context.Context) {
	n.settleInExternal(ctx)
	if n.network() == nil || n.givenUp.Load() != nil {
		return
	}
	n.keepSelf(ctx)
	n.keepCertificate(ctx)
	n.askWhetherRemoved(ctx)
	n.askFormer(ctx)
	n.noteCluster()
	n.placeCopies(ctx)
}

// placeCopies carries out what placement plans, when this node is the one to do that. What
// cannot be done now is planned again with the next look.
func (n *node) placeCopies(ctx context.Context) {
	if ready, _ := n.records.Ready(); !ready || n.network() == nil {
		return
	}
	view := n.clusterView()
	n.tendCopies(view)
	exists := func(id ballast.VolumeID) bool {
		_, err := n.records.ByID(id)
		return !errors.Is(err, ballast.ErrNotFound)
	}
	n.steady.forget(exists)
	n.used.forget(exists)
	if placement.Controller(view.Nodes) != n.cfg.Node {
		return
	}
	n.learnUsed(ctx, view)
	for _, step := range placement.Copies(n.clusterView()) {
		n.place(ctx, step)
	}
}

func (n *node) place(ctx context.Context, step placement.Step) {
	ctx, cancel := context.WithTimeout(ctx, recordBudget)
	defer cancel()
	_, err := n.records.SetCopies(ctx, step.Volume, cluster.CopiesChange{Add: step.Add, Drop: step.Drop})
	switch {
	case err == nil && step.Add != "":
		n.log.Info("a node is to hold a copy", "volume", step.Name, "volume_id", step.Volume, "node", step.Add, "why", step.Why)
	case err == nil:
		n.log.Info("a node is to hold no copy any more", "volume", step.Name, "volume_id", step.Volume, "node", step.Drop, "why", step.Why)
	case !errors.Is(err, ballast.ErrTooFewCopies) && !errors.Is(err, ballast.ErrInUse):
		n.quiet.Warn("place "+string(step.Volume), "a copy could not be placed", "step", step.String(), "error", err)
	}
}
