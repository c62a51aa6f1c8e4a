package agent

import (
	"context"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
)

// snapshotHolder holds a detached volume while its base snapshot is taken.
const snapshotHolder = "ballast:snapshot"

// archived finds a volume that has a history in the archive, and the archive.
func (n *node) archived(ctx context.Context, nameOrID string) (cluster.Record, *archiver.Opened, error) {
	rec, err := n.findEvenRemoved(nameOrID)
	if err != nil {
		return rec, nil, err
	}
	if !n.cfg.archives() {
		return rec, nil, fmt.Errorf("volume %q: this node archives nothing (--archive none): %w", rec.Name, ballast.ErrInvalid)
	}
	if !archiver.Keeps(rec.Spec.Class) {
		return rec, nil, fmt.Errorf("volume %q: volumes of class %s have no history in the archive: %w", rec.Name, rec.Spec.Class, ballast.ErrInvalid)
	}
	o, err := n.vault.Wait(ctx)
	return rec, o, err
}

// Snapshot takes a base snapshot of a volume as it is now. One that nobody has attached
// is attached for the time.
func (n *node) Snapshot(ctx context.Context, name string, tags []string, report func(archive.Progress)) (*archive.Base, error) {
	for _, tag := range tags {
		if err := checkTag(tag); err != nil {
			return nil, fmt.Errorf("snapshot volume %q: %w", name, err)
		}
	}
	rec, _, err := n.archived(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("snapshot volume: %w", err)
	}
	if _, err := n.Attach(ctx, rec.Name, snapshotHolder); err != nil {
		return nil, fmt.Errorf("snapshot volume %q: %w", name, err)
	}
	base, err := n.snapshotAttached(ctx, rec, tags, report)
	if detached := n.Detach(context.WithoutCancel(ctx), rec.Name, snapshotHolder); detached != nil {
		n.log.Warn("volume stays attached after its snapshot", "volume", rec.Name, "error", detached)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot volume %q: %w", name, err)
	}
	return base, nil
}

func (n *node) snapshotAttached(ctx context.Context, rec cluster.Record, tags []string, report func(archive.Progress)) (*archive.Base, error) {
	s := n.slot(rec.ID)
	a, w := s.current(), s.archiver()
	if a == nil || w == nil {
		return nil, fmt.Errorf("it was detached meanwhile: %w", ballast.ErrNotReady)
	}
	n.writeBack(ctx, a)
	return w.Snapshot(ctx, tags, report)
}
