package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/vfs"
)

// removedFile says that the archive knows of the volume's removal: a recovery then leaves it out.
const removedFile = "archive.removed"

// Removals keeps the archive informed of which volumes were removed.
type Removals struct {
	Node  Node
	Vault *Vault
}

// Tell tells the archive which volumes were removed, and which came back. What
// cannot be told now is told at the next look.
func (r Removals) Tell(ctx context.Context) {
	o, err := r.Vault.Get()
	if err != nil {
		return // told by its condition
	}
	for _, rec := range r.Node.Records.Trash() {
		r.tellOne(ctx, rec, func() error {
			gone := &tail.Removed{Volume: rec.ID, Epoch: rec.Epoch, Time: rec.RemovedAt}
			if err := tail.MarkRemoved(ctx, o.Store, o.Archive.Tail(), gone); err != nil {
				return err
			}
			return vfs.ReplaceFile(r.Node.Disk, r.Node.dir(rec.ID)+"/"+removedFile, nil)
		}, false)
	}
	for _, rec := range r.Node.Records.List() {
		r.tellOne(ctx, rec, func() error {
			name := tail.Name{Kind: tail.RemovedKind, Volume: rec.ID}.String()
			if err := o.Store.Delete(ctx, name); err != nil {
				return fmt.Errorf("take back that it was removed: %w", err)
			}
			if err := r.Node.Disk.Remove(r.Node.dir(rec.ID) + "/" + removedFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return r.Node.Disk.SyncDir(r.Node.dir(rec.ID))
		}, true)
	}
}

// tellOne calls tell for an archived volume with files, if the archive has been told of its
// removal or not, as told says.
func (r Removals) tellOne(ctx context.Context, rec Volume, tell func() error, told bool) {
	if !Keeps(rec.Spec.Class) || rec.Epoch == 0 || rec.Purging || ctx.Err() != nil {
		return
	}
	f, err := r.Node.Disk.Open(r.Node.dir(rec.ID) + "/" + removedFile)
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
		r.Node.Quiet.Warn("removed "+string(rec.ID), "the archive was not told whether the volume is removed; it is told again", "volume", rec.Name, "error", err)
	}
}
