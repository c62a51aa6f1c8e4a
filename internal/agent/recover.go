package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/volume"
)

// recovered is what came of one volume.
type recovered struct {
	name    string
	point   tail.Point
	existed bool // the node has it; nothing was done
	err     error
}

// Recover brings back every volume of the archive that the node does not have, with its
// id and its name, as it was at its newest point. It tells each as it is done. A volume that
// cannot be brought back keeps none of the others from it. What an earlier attempt
// brought back is there, so that doing it again goes on where it ended.
func (n *node) Recover(ctx context.Context, dryRun bool, tell func(recovered) error) error {
	if !n.cfg.archives() {
		return fmt.Errorf("recover volumes: this node has no archive (--archive none): %w", ballast.ErrInvalid)
	}
	if err := n.waitAdopted(ctx); err != nil {
		return fmt.Errorf("recover volumes: %w", err)
	}
	o, err := n.vault.Wait(ctx)
	if err != nil {
		return fmt.Errorf("recover volumes: %w", err)
	}
	release, err := n.keeper.Reading(ctx)
	if err != nil {
		return fmt.Errorf("recover volumes: %w", err)
	}
	defer release()
	found, err := o.Archive.Volumes(ctx)
	if err != nil {
		return fmt.Errorf("recover volumes: %w", err)
	}
	for _, f := range found {
		if !f.Removed.IsZero() || !archiver.Keeps(f.Spec.Class) {
			continue
		}
		out := n.recoverOne(ctx, o, f, dryRun)
		if ctx.Err() != nil {
			return fmt.Errorf("recover volumes: %w", ctx.Err())
		}
		if err := tell(out); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) recoverOne(ctx context.Context, o *archiver.Opened, f archive.Found, dryRun bool) recovered {
	out := recovered{name: f.Name, point: f.Newest, err: f.Err}
	_, err := n.records.ByID(f.ID)
	switch {
	case err == nil:
		out.existed, out.err = true, nil
		return out
	case !errors.Is(err, ballast.ErrNotFound):
		out.err = err
	}
	if dryRun || f.Newest == (tail.Point{}) {
		return out
	}
	out.point, out.err = n.recoverVolume(ctx, o, f)
	if out.err != nil {
		n.log.Error("volume was not recovered", "volume", f.Name, "volume_id", f.ID, "error", out.err)
		return out
	}
	n.log.Info("recovered volume", "volume", f.Name, "volume_id", f.ID, "point", out.point.Time, "lsn", uint64(out.point.LSN))
	return out
}

// recoverVolume makes this node the one that continues the volume's history, before anything
// of it can be used: whoever had it is fenced off.
func (n *node) recoverVolume(ctx context.Context, o *archiver.Opened, f archive.Found) (tail.Point, error) {
	if other, err := n.records.Get(f.Name); err == nil {
		return tail.Point{}, fmt.Errorf("there is another volume called %q here, with the id %s; remove it, or restore that of the archive under another name: %w", f.Name, other.ID, ballast.ErrExists)
	}
	plan, incomplete, err := newestPlan(ctx, o, f.ID)
	if err != nil {
		return tail.Point{}, err
	}
	src, err := o.Archive.Source(ctx, plan, nil)
	if err != nil {
		return tail.Point{}, err
	}
	at := plan.Point
	made := cluster.Record{ID: f.ID, Name: f.Name, Spec: f.Spec, Formatted: true}
	made.Spec.Size = max(made.Spec.Size, at.Size)
	hollow := volume.Hollow{ID: f.ID, Size: at.Size, LSN: at.LSN, Epoch: at.Epoch, Present: src.Present}
	_, err = n.withFiles(made, hollow, plan, func() (cluster.Record, error) {
		if made.Epoch, err = n.writers.Take(ctx, o, archivedVolume(made), at); err != nil {
			return made, err
		}
		return n.records.Adopt(ctx, made)
	})
	if err != nil {
		return at, err
	}
	return at, incomplete
}

// newestPlan returns the way to a volume's newest point that is whole; incomplete says that
// there was a newer one, which the archive has lost.
func newestPlan(ctx context.Context, o *archiver.Opened, id ballast.VolumeID) (plan *archive.Plan, incomplete, err error) {
	if plan, err = o.Archive.Plan(ctx, id, archive.When{}); err == nil {
		return plan, nil, nil
	}
	h, err := o.Archive.History(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	plan, err = h.Plan(archive.When{})
	if err == nil {
		return plan, nil, nil
	}
	at, ok := h.Newest()
	if !ok {
		return nil, nil, err
	}
	incomplete = fmt.Errorf("it was brought back as of %s, which is not its newest state: %w", archive.Moment(at.Time), err)
	plan, err = h.Plan(archive.When{Exactly: &at})
	return plan, incomplete, err
}
