package archiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/retention"
)

const (
	retainEvery = time.Hour
	pruneEvery  = 24 * time.Hour

	// maxReaders bounds what reads old points at once: restores and verifications.
	maxReaders = 1 << 20
)

// CheckKeep refuses a retention that nobody understands; none is fine.
func CheckKeep(text string) error {
	if text == "" {
		return nil
	}
	_, err := retention.ParsePolicy(text)
	return err
}

// Keeper thins out the histories of a node's volumes, and keeps from that what somebody
// looks for just now.
type Keeper struct {
	node    Node
	vault   *Vault
	sources *Sources
	keep    string
	readers *semaphore.Weighted // of old points; retention takes all of it
}

// NewKeeper returns the keeper of a node; keep is the retention of volumes that do not say it.
// What sources are filled from stays.
func NewKeeper(node Node, vault *Vault, sources *Sources, keep string) *Keeper {
	return &Keeper{node: node, vault: vault, sources: sources, keep: keep, readers: semaphore.NewWeighted(maxReaders)}
}

// KeepOf returns the retention of a volume.
func (k *Keeper) KeepOf(spec ballast.VolumeSpec) string { return cmp.Or(spec.Keep, k.keep) }

// Run thins out the history of every volume once an hour, one after another, at a
// moment of the hour that chance gives: nodes of one archive do not do it together. Once a
// day it frees what no base snapshot needs any more. It ends with ctx.
func (k *Keeper) Run(ctx context.Context) {
	first := time.NewTimer(time.Duration(rand.Int64N(int64(retainEvery))))
	defer first.Stop()
	select {
	case <-first.C:
	case <-ctx.Done():
		return
	}
	pruned := time.Now().Add(-time.Duration(rand.Int64N(int64(pruneEvery))))
	look := func(ctx context.Context) {
		o, err := k.vault.Get()
		if err != nil {
			return // told by its condition
		}
		k.retainAll(ctx, o)
		if time.Since(pruned) >= pruneEvery {
			pruned = time.Now()
			k.prune(ctx, o)
		}
	}
	look(ctx)
	every(ctx, retainEvery, look)
}

// retainAll applies the retention of every archived volume, in the trash or not.
func (k *Keeper) retainAll(ctx context.Context, o *Opened) {
	for _, rec := range append(k.node.Records.List(), k.node.Records.Trash()...) {
		if !Keeps(rec.Spec.Class) || rec.Epoch == 0 || ctx.Err() != nil {
			continue
		}
		plan, err := k.Retain(ctx, o, rec.ID, k.KeepOf(rec.Spec), true)
		switch {
		case err == nil:
			k.node.Quiet.Over("retain " + string(rec.ID))
			if plan.Freed > 0 {
				k.node.Log.Info("thinned out a volume's history", "volume", rec.Name, "freed_bytes", plan.Freed)
			}
		case ctx.Err() == nil && !errors.Is(err, ballast.ErrNotFound): // nothing of it is archived yet
			k.node.Quiet.Warn("retain "+string(rec.ID), "old points of the volume's history stay; they are looked at again in an hour", "volume", rec.Name, "error", err)
		}
	}
}

// Retain plans which points of a volume's history go, and lets them go if it is to. What
// volumes of this node are being filled from stays, and what other volumes began as.
func (k *Keeper) Retain(ctx context.Context, o *Opened, id ballast.VolumeID, keep string, apply bool) (*archive.Retention, error) {
	policy, err := retention.ParsePolicy(keep)
	if err != nil {
		return nil, err
	}
	if apply {
		// Nobody may look for a point while points go: it could be one of them.
		if !k.readers.TryAcquire(maxReaders) {
			return nil, fmt.Errorf("points of the archive are being restored or verified just now; try again: %w", ballast.ErrInUse)
		}
		defer k.readers.Release(maxReaders)
	}
	inUse, err := k.sources.InUse()
	if err != nil {
		return nil, err
	}
	plan, err := o.Archive.PlanRetention(ctx, id, policy, time.Now(), inUse)
	if err != nil || !apply {
		return plan, err
	}
	return plan, o.Archive.Retain(ctx, plan)
}

// Reading keeps points from going until release is called.
func (k *Keeper) Reading(ctx context.Context) (release func(), err error) {
	if err := k.readers.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for the retention of the archive: %w", err)
	}
	return func() { k.readers.Release(1) }, nil
}
