package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/retention"
	"github.com/ballast-io/ballast/internal/cluster"
)

const (
	verifyLook  = time.Minute
	retainEvery = time.Hour
	pruneEvery  = 24 * time.Hour

	// maxReaders bounds what reads old points at once: restores and verifications.
	maxReaders = 1 << 20
)

// checkKeep refuses a retention that nobody understands; none is fine.
func checkKeep(text string) error {
	if text == "" {
		return nil
	}
	_, err := retention.ParsePolicy(text)
	return err
}

// keepOf returns the retention of a volume.
func (n *node) keepOf(rec cluster.Record) string { return cmp.Or(rec.Spec.Keep, n.cfg.Keep) }

// runRetention thins out the history of every volume once an hour, one after another, at a
// moment of the hour that chance gives: nodes of one archive do not do it together. Once a
// day it frees what no base snapshot needs any more.
func (n *node) runRetention(ctx context.Context) {
	first := time.NewTimer(time.Duration(rand.Int64N(int64(retainEvery))))
	defer first.Stop()
	select {
	case <-first.C:
	case <-ctx.Done():
		return
	}
	pruned := time.Now().Add(-time.Duration(rand.Int64N(int64(pruneEvery))))
	look := func(ctx context.Context) {
		o, err := n.vault.get()
		if err != nil {
			return // told by its condition
		}
		n.retainAll(ctx, o)
		if time.Since(pruned) >= pruneEvery {
			pruned = time.Now()
			n.prune(ctx, o)
		}
	}
	look(ctx)
	every(ctx, retainEvery, look)
}

// retainAll applies the retention of every archived volume, in the trash or not.
func (n *node) retainAll(ctx context.Context, o *opened) {
	for _, rec := range append(n.records.List(), n.records.Trash()...) {
		if !isArchived(rec.Spec.Class) || rec.Epoch == 0 || ctx.Err() != nil {
			continue
		}
		plan, err := n.retain(ctx, o, rec.ID, n.keepOf(rec), true)
		switch {
		case err == nil:
			n.quiet.over("retain " + string(rec.ID))
			if plan.Freed > 0 {
				n.log.Info("thinned out a volume's history", "volume", rec.Name, "freed_bytes", plan.Freed)
			}
		case ctx.Err() == nil && !errors.Is(err, ballast.ErrNotFound): // nothing of it is archived yet
			n.quiet.warn("retain "+string(rec.ID), "old points of the volume's history stay; they are looked at again in an hour", "volume", rec.Name, "error", err)
		}
	}
}

// prune frees what no base snapshot needs, and thins out the histories of volumes that were
// removed and that nobody has any more.
func (n *node) prune(ctx context.Context, o *opened) {
	err := n.retainForgotten(ctx, o)
	if err == nil {
		err = n.pruneRepository(ctx, o)
	}
	if err != nil && ctx.Err() == nil {
		n.quiet.warn("prune", "what the archive does not need any more is not freed; it is looked at again tomorrow", "error", err)
	}
}

func (n *node) retainForgotten(ctx context.Context, o *opened) error {
	found, err := o.archive.Volumes(ctx)
	if err != nil {
		return err
	}
	for _, f := range found {
		if _, err := n.records.ByID(f.ID); f.Removed.IsZero() || !errors.Is(err, ballast.ErrNotFound) {
			continue
		}
		if _, err := n.retain(ctx, o, f.ID, n.cfg.Keep, true); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) pruneRepository(ctx context.Context, o *opened) error {
	plan, err := o.repo.PlanPrune(ctx)
	if err != nil || plan.Nothing() {
		return err
	}
	if err := o.repo.Prune(ctx, plan, nil); err != nil {
		return err
	}
	n.log.Info("pruned the archive", "freed_bytes", plan.Frees())
	return nil
}

// retain plans which points of a volume's history go, and lets them go if it is to. What
// volumes of this node are being filled from stays, and what other volumes began as.
func (n *node) retain(ctx context.Context, o *opened, id ballast.VolumeID, keep string, apply bool) (*archive.Retention, error) {
	policy, err := retention.ParsePolicy(keep)
	if err != nil {
		return nil, err
	}
	if apply {
		// Nobody may look for a point while points go: it could be one of them.
		if !n.readers.TryAcquire(maxReaders) {
			return nil, fmt.Errorf("points of the archive are being restored or verified just now; try again: %w", ballast.ErrInUse)
		}
		defer n.readers.Release(maxReaders)
	}
	inUse, err := n.plansInUse()
	if err != nil {
		return nil, err
	}
	plan, err := o.archive.PlanRetention(ctx, id, policy, time.Now(), inUse)
	if err != nil || !apply {
		return plan, err
	}
	return plan, o.archive.Retain(ctx, plan)
}

// reading keeps points from going until release is called.
func (n *node) reading(ctx context.Context) (release func(), err error) {
	if err := n.readers.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for the retention of the archive: %w", err)
	}
	return func() { n.readers.Release(1) }, nil
}

// plansInUse returns what volumes of this node are still being filled from.
func (n *node) plansInUse() ([]*archive.Plan, error) {
	names, err := n.disk.List(volumesDir)
	if err != nil {
		return nil, fmt.Errorf("look what is being restored: %w", err)
	}
	var plans []*archive.Plan
	for _, name := range names {
		plan, err := loadSource(n.disk, volumesDir+"/"+name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look what volume %s is being filled from: %w", name, err)
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

func (s volumeService) Retain(ctx context.Context, r *connect.Request[v1.RetainRequest]) (*connect.Response[v1.RetainResponse], error) {
	rec, o, err := s.node.archived(ctx, r.Msg.GetName())
	if err != nil {
		return nil, apiError(err)
	}
	policy := r.Msg.GetPolicy()
	if policy != "" && r.Msg.GetApply() {
		return nil, apiError(fmt.Errorf("retain volume %q: another retention than the volume's can be planned, not applied: %w", rec.Name, ballast.ErrInvalid))
	}
	plan, err := s.node.retain(ctx, o, rec.ID, cmp.Or(policy, s.node.keepOf(rec)), r.Msg.GetApply())
	if err != nil {
		return nil, apiError(fmt.Errorf("retain volume %q: %w", rec.Name, err))
	}
	resp := &v1.RetainResponse{FreedBytes: uint64(max(0, plan.Freed))}
	for _, step := range plan.Steps {
		resp.Steps = append(resp.Steps, &v1.RetainStep{Keep: step.Keep, What: step.What, Time: timestamppb.New(step.Time), Reason: step.Reason})
	}
	return connect.NewResponse(resp), nil
}
