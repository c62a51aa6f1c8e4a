package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/vfs"
)

// removedFile says that the archive knows of the volume's removal: a recovery then leaves it out.
const removedFile = "archive.removed"

// tellRemoved tells the archive which volumes were removed, and which came back. What
// cannot be told now is told at the next look.
func (n *node) tellRemoved(ctx context.Context) {
	o, err := n.vault.get()
	if err != nil {
		return // told by its condition
	}
	for _, rec := range n.records.Trash() {
		n.tellOne(ctx, rec, func() error {
			r := &tail.Removed{Volume: rec.ID, Epoch: rec.Epoch, Time: rec.RemovedAt}
			if err := tail.MarkRemoved(ctx, o.store, o.archive.Tail(), r); err != nil {
				return err
			}
			return vfs.ReplaceFile(n.disk, volumeDir(rec.ID)+"/"+removedFile, nil)
		}, false)
	}
	for _, rec := range n.records.List() {
		n.tellOne(ctx, rec, func() error {
			name := tail.Name{Kind: tail.RemovedKind, Volume: rec.ID}.String()
			if err := o.store.Delete(ctx, name); err != nil {
				return fmt.Errorf("take back that it was removed: %w", err)
			}
			if err := n.disk.Remove(volumeDir(rec.ID) + "/" + removedFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return n.disk.SyncDir(volumeDir(rec.ID))
		}, true)
	}
}

// tellOne calls tell for an archived volume with files, if the archive has been told of its
// removal or not, as told says.
func (n *node) tellOne(ctx context.Context, rec cluster.Record, tell func() error, told bool) {
	if !isArchived(rec.Spec.Class) || rec.Epoch == 0 || rec.Purging || ctx.Err() != nil {
		return
	}
	f, err := n.disk.Open(volumeDir(rec.ID) + "/" + removedFile)
	if err == nil {
		_ = f.Close() // was only looked at
	}
	if (err == nil) != told {
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err := tell(); err != nil && ctx.Err() == nil {
		n.quiet.warn("removed "+string(rec.ID), "the archive was not told whether the volume is removed; it is told again", "volume", rec.Name, "error", err)
	}
}
