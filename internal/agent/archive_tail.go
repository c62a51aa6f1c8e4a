package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/cluster"
)

// beginTail begins the history of a volume that was restored under an id of its own, before
// it has a record: the archive then keeps what it is to be filled from.
func (n *node) beginTail(ctx context.Context, o *opened, made cluster.Record) error {
	w, err := n.tailOf(ctx, o, made.ID)
	if err != nil {
		return fmt.Errorf("begin the volume's history: %w", err)
	}
	if err := w.OpenEpoch(ctx, n.openOf(made.ID, made.Epoch, made)); err != nil {
		return fmt.Errorf("begin the volume's history: %w", err)
	}
	return nil
}

// takeTail makes this node the one that continues a volume's history behind a point, and
// returns the epoch that says so. Of several that try, one succeeds; whoever had it is
// fenced off.
func (n *node) takeTail(ctx context.Context, o *opened, rec cluster.Record, at tail.Point) (ballast.Epoch, error) {
	line, err := tail.NewReader(o.store, o.archive.Tail()).Load(ctx, rec.ID, 0)
	if err != nil {
		return 0, fmt.Errorf("find the end of the volume's history: %w", err)
	}
	w, err := n.tailOf(ctx, o, rec.ID)
	if err != nil {
		return 0, fmt.Errorf("continue the volume's history: %w", err)
	}
	open := n.openOf(rec.ID, max(w.State().Epoch, line.Epoch, at.Epoch)+1, rec)
	open.Parent = line.Position(at.LSN)
	if open.Parent.LSN != at.LSN { // a base snapshot that the tail leads past
		open.Parent = tail.Position{Epoch: at.Epoch, LSN: at.LSN}
	}
	if err := w.OpenEpoch(ctx, open); err != nil {
		if errors.Is(err, tail.ErrFenced) {
			err = fmt.Errorf("another machine is recovering it: %w: %w", err, ballast.ErrInUse)
		}
		return 0, err
	}
	return open.Epoch, nil
}

// tailOf returns the writer of a volume whose folder was just made.
func (n *node) tailOf(ctx context.Context, o *opened, id ballast.VolumeID) (*tail.Shipper, error) {
	dir := volumeDir(id)
	owner, err := n.ownerOf(dir)
	if err != nil {
		return nil, err
	}
	save := func(state tail.State) error {
		return saveArchiveState(n.disk, dir, archiveState{Repository: o.repo.ID(), Tail: &state, LSN: state.Last})
	}
	return tail.Resume(ctx, tail.Config{Store: o.store, Sealer: o.archive.Tail(), Volume: id, Save: save, Owner: owner}, nil)
}
