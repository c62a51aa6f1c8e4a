package agent

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/ballast-io/ballast/internal/archive/retention"
	"github.com/ballast-io/ballast/internal/cluster"
)

const (
	verifyLook  = time.Minute
	retainEvery = time.Hour
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
// moment of the hour that chance gives: nodes of one archive do not do it together.
func (n *node) runRetention(ctx context.Context) {
	first := time.NewTimer(time.Duration(rand.Int64N(int64(retainEvery))))
	defer first.Stop()
	select {
	case <-first.C:
	case <-ctx.Done():
		return
	}
	n.retainAll(ctx)
	every(ctx, retainEvery, n.retainAll)
}

// retainAll applies the retention of every archived volume, in the trash or not.
func (n *node) retainAll(ctx context.Context) {
	o, err := n.vault.get()
	if err != nil {
		return // told by its condition
	}
	for _, rec := range append(n.records.List(), n.records.Trash()...) {
		if !isArchived(rec.Spec.Class) || ctx.Err() != nil {
			continue
		}
		if err := n.retain(ctx, o, rec); err != nil && ctx.Err() == nil {
			n.quiet.warn("retain "+string(rec.ID), "old points of the volume's history stay; they are looked at again in an hour", "volume", rec.Name, "error", err)
		}
	}
}

// retain thins out the history of one volume. What volumes of this node are still to be
// filled from is kept: what comes of others is in the archive.
func (n *node) retain(ctx context.Context, o *opened, rec cluster.Record) error {
	return nil
}
