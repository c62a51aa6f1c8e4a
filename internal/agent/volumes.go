package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
)

// Create makes a volume. One that exists and is as asked is no error.
func (n *node) Create(ctx context.Context, name string, options map[string]string) (volumeView, error) {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	if _, ok := options[fromOption]; ok {
		return n.createFrom(ctx, name, options)
	}
	if err := archiver.CheckKeep(options["keep"]); err != nil {
		return volumeView{}, fmt.Errorf("create volume %q: %w", name, err)
	}
	rec, err := n.records.Create(ctx, name, options)
	if err != nil {
		return volumeView{}, err
	}
	n.log.Info("created volume", "volume", rec.Name, "volume_id", rec.ID, "size", rec.Spec.Size, "class", rec.Spec.Class)
	return n.look(rec), nil
}

// Inspect returns one volume, from memory. The error is [ballast.ErrNotFound] or
// [ballast.ErrNotReady].
func (n *node) Inspect(name string) (volumeView, error) {
	rec, err := n.records.Get(name)
	if err != nil {
		return volumeView{}, err
	}
	return n.look(rec), nil
}

// List returns the volumes in or outside of the trash, sorted by name, from
// memory. It fails with [ballast.ErrNotReady] only when nothing is known.
func (n *node) List(trash bool) ([]volumeView, error) {
	views := n.listViews(trash)
	if ready, why := n.records.Ready(); !ready && len(views) == 0 {
		return nil, errors.Join(fmt.Errorf("list volumes: the volume records are not readable yet: %w", ballast.ErrNotReady), why)
	}
	return views, nil
}

// Remove moves a volume that nobody holds to the trash and returns until when it
// can be restored.
func (n *node) Remove(ctx context.Context, name string) (keptUntil time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	rec, err := n.records.Get(name)
	if err != nil {
		return time.Time{}, fmt.Errorf("remove volume: %w", err)
	}
	if err := n.waitAdopted(ctx); err != nil {
		return time.Time{}, fmt.Errorf("remove volume %q: %w", name, err)
	}
	type outcome struct {
		rec cluster.Record
		err error
	}
	done := make(chan outcome, 1)
	s := n.slot(rec.ID)
	if !n.do(func(ctx context.Context) { rec, err := n.moveToTrash(ctx, s); done <- outcome{rec, err} }) {
		return time.Time{}, fmt.Errorf("remove volume %q: %w", name, errEnding)
	}
	select {
	case o := <-done:
		if o.err != nil {
			return time.Time{}, fmt.Errorf("remove volume %q: %w", name, o.err)
		}
		n.log.Info("removed volume", "volume", name, "volume_id", rec.ID, "kept_for", n.cfg.TrashKeep)
		return o.rec.RemovedAt.Add(n.cfg.TrashKeep), nil
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("remove volume %q: %s goes on, and the volume is removed when it has ended: %w", name, s.doing(), ctx.Err())
	}
}

// moveToTrash ends what keeps the volume attached without need, and removes it.
func (n *node) moveToTrash(ctx context.Context, s *slot) (cluster.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, unmountBudget)
	defer cancel()
	if err := n.acquire(ctx, s, "removing"); err != nil {
		return cluster.Record{}, err
	}
	defer s.release()
	if len(n.records.Nodes()) > 1 {
		if rec, err := n.mustAnswer(ctx, s.id); err != nil {
			return rec, err // before anybody else is asked for anything
		}
	}
	if err := n.detachUnused(ctx, s); err != nil {
		return cluster.Record{}, err
	}
	if rec, err := n.records.ByID(s.id); err == nil {
		n.askToYield(ctx, rec)
	}
	rec, err := n.records.Remove(ctx, s.id)
	if err == nil {
		n.health.clear(s.id)
	}
	return rec, err
}

// releaseForgotten tells the records that this node does not hold a volume any
// more, where an earlier attempt to say so has failed.
func (n *node) releaseForgotten(ctx context.Context, id ballast.VolumeID) error {
	rec, err := n.records.ByID(id)
	if err != nil || rec.Primary != n.cfg.Node {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, recordBudget)
	defer cancel()
	_, err = n.records.Release(ctx, id, rec.Epoch)
	return err
}

// Restore takes a volume out of the trash, under the name as, or its own when as
// is empty. Where several in the trash had that name, it is named by its id.
func (n *node) Restore(ctx context.Context, nameOrID, as string) (volumeView, error) {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	rec, err := n.records.Restore(ctx, nameOrID, as)
	if err != nil {
		return volumeView{}, err
	}
	n.log.Info("restored volume", "volume", rec.Name, "volume_id", rec.ID)
	return n.look(rec), nil
}

// Resize grows a volume to a size as the option has it. An attached one grows
// while it is used, a detached one when it is attached next.
func (n *node) Resize(ctx context.Context, name, size string) (volumeView, error) {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	bytes, err := ballast.ParseSize(size)
	if err != nil {
		return volumeView{}, fmt.Errorf("resize volume %q: %w", name, err)
	}
	rec, err := n.records.Get(name)
	if err == nil {
		err = n.waitAdopted(ctx)
	}
	if err != nil {
		return volumeView{}, fmt.Errorf("resize volume: %w", err)
	}
	if rec, err = n.records.Resize(ctx, rec.ID, bytes); err != nil {
		return volumeView{}, err
	}
	if err := n.growNow(ctx, n.slot(rec.ID), bytes); err != nil {
		return volumeView{}, fmt.Errorf("resize volume %q: it is recorded with %s and will have it from its next attach on, but could not grow now: %w", name, ballast.FormatSize(bytes), err)
	}
	n.log.Info("resized volume", "volume", rec.Name, "volume_id", rec.ID, "size", bytes)
	return n.look(rec), nil
}

// growNow grows a volume if it is attached, in a goroutine of the node's own.
func (n *node) growNow(ctx context.Context, s *slot, size int64) error {
	if s.current() == nil {
		return nil
	}
	done := make(chan error, 1)
	if !n.do(func(ctx context.Context) { done <- n.grow(ctx, s, size) }) {
		return errEnding
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("growing takes long and goes on: %w", ctx.Err())
	}
}

func (n *node) grow(ctx context.Context, s *slot, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, unmountBudget)
	defer cancel()
	if err := n.acquire(ctx, s, "resizing"); err != nil {
		return err
	}
	defer s.release()
	a := s.current()
	if a == nil {
		return nil
	}
	if err := n.growEngine(ctx, a, size); err != nil {
		return err
	}
	err := n.growFilesystem(ctx, s, a, size, false)
	if err == nil {
		n.health.clear(s.id, condNotGrown)
	}
	return err
}
