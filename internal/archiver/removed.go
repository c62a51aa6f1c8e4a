package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/vfs"
)

// removedFile says of which removal of the volume this node has told the archive: a recovery then
// leaves it out.
const removedFile = "archive.removed"

// Removals keeps the archive informed of which volumes were removed. The node that restores one, or
// looks after it by then, need not be the one that said that it was removed: that the archive may say so
// is in the volume's record from before it does until after it does not.
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
		r.warn(ctx, rec, r.mark(ctx, o, rec))
	}
	for _, rec := range r.Node.Records.List() {
		r.warn(ctx, rec, r.takeBack(ctx, o, rec))
	}
}

func (r Removals) warn(ctx context.Context, rec Volume, err error) {
	if err != nil && ctx.Err() == nil {
		r.Node.Quiet.Warn("removed "+string(rec.ID), "the archive was not told whether the volume is removed; it is told again", "volume", rec.Name, "error", err)
	}
}

// mark says that a volume was removed, if it has a history and this node has not said so.
func (r Removals) mark(ctx context.Context, o *Opened, rec Volume) error {
	here := r.hasFolder(rec) // else there is nowhere to note it, and who has noted it in the record has said it
	removal := rec.RemovedAt.UTC().Format(time.RFC3339Nano)
	if !Keeps(rec.Spec.Class) || rec.Epoch == 0 || rec.Purging || rec.Marked && (!here || r.told(rec) == removal) {
		return nil
	}
	if err := r.Node.Records.SetMarked(ctx, rec.ID, true); err != nil {
		return err
	}
	gone := &tail.Removed{Volume: rec.ID, Epoch: rec.Epoch, Time: rec.RemovedAt}
	if err := tail.MarkRemoved(ctx, o.Store, o.Archive.Tail(), gone); err != nil {
		return err
	}
	if !here {
		return nil
	}
	return vfs.ReplaceFile(r.Node.Disk, r.Node.dir(rec.ID)+"/"+removedFile, []byte(removal))
}

// takeBack says that a volume is not removed, where the archive may say that it is.
func (r Removals) takeBack(ctx context.Context, o *Opened, rec Volume) error {
	if !rec.Marked && r.told(rec) == "" {
		return nil
	}
	name := tail.Name{Kind: tail.RemovedKind, Volume: rec.ID}.String()
	if err := o.Store.Delete(ctx, name); err != nil {
		return fmt.Errorf("take back that it was removed: %w", err)
	}
	if err := r.Node.Records.SetMarked(ctx, rec.ID, false); err != nil {
		return err
	}
	if err := r.Node.Disk.Remove(r.Node.dir(rec.ID) + "/" + removedFile); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return r.Node.Disk.SyncDir(r.Node.dir(rec.ID))
}

// told returns of which removal this node has told the archive; empty: of none. One that a former
// release told it of is of an unknown one.
func (r Removals) told(rec Volume) string {
	data, err := vfs.ReadFile(r.Node.Disk, r.Node.dir(rec.ID)+"/"+removedFile, 64)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil || len(data) == 0:
		return "unknown"
	}
	return string(data)
}

func (r Removals) hasFolder(rec Volume) bool {
	_, err := r.Node.Disk.List(r.Node.dir(rec.ID))
	return err == nil
}
