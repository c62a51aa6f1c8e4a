package archiver

import (
	"context"
	"errors"

	"github.com/ballast-io/ballast"
)

// prune frees what no base snapshot needs, and thins out the histories of volumes that were
// removed and that nobody has any more.
func (k *Keeper) prune(ctx context.Context, o *Opened) {
	err := k.retainForgotten(ctx, o)
	if err == nil {
		err = k.pruneRepository(ctx, o)
	}
	if err != nil && ctx.Err() == nil {
		k.node.Quiet.Warn("prune", "what the archive does not need any more is not freed; it is looked at again tomorrow", "error", err)
	}
}

func (k *Keeper) retainForgotten(ctx context.Context, o *Opened) error {
	found, err := o.Archive.Volumes(ctx)
	if err != nil {
		return err
	}
	for _, f := range found {
		if _, err := k.node.Records.ByID(f.ID); f.Removed.IsZero() || !errors.Is(err, ballast.ErrNotFound) {
			continue
		}
		if _, err := k.Retain(ctx, o, f.ID, k.keep, true); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) pruneRepository(ctx context.Context, o *Opened) error {
	plan, err := o.Repo.PlanPrune(ctx)
	if err != nil || plan.Nothing() {
		return err
	}
	if err := o.Repo.Prune(ctx, plan, nil); err != nil {
		return err
	}
	k.node.Log.Info("pruned the archive", "freed_bytes", plan.Frees())
	return nil
}
