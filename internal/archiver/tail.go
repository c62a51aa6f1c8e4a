package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// Begin begins the history of a volume that was restored under an id of its own, before
// it has a record: the archive then keeps what it is to be filled from.
func (a *Writers) Begin(ctx context.Context, o *Opened, made Volume) error {
	w, err := a.tailOf(ctx, o, made.ID)
	if err != nil {
		return fmt.Errorf("begin the volume's history: %w", err)
	}
	if err := w.OpenEpoch(ctx, a.openOf(made, made.Epoch)); err != nil {
		return fmt.Errorf("begin the volume's history: %w", err)
	}
	return nil
}

// Take makes this node the one that continues a volume's history behind a point, and
// returns the epoch that says so. Of several that try, one succeeds; whoever had it is
// fenced off.
func (a *Writers) Take(ctx context.Context, o *Opened, v Volume, at tail.Point) (ballast.Epoch, error) {
	line, err := tail.NewReader(o.Store, o.Archive.Tail()).Load(ctx, v.ID, 0)
	if err != nil {
		return 0, fmt.Errorf("find the end of the volume's history: %w", err)
	}
	w, err := a.tailOf(ctx, o, v.ID)
	if err != nil {
		return 0, fmt.Errorf("continue the volume's history: %w", err)
	}
	open := a.openOf(v, max(w.State().Epoch, line.Epoch, at.Epoch)+1)
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
func (a *Writers) tailOf(ctx context.Context, o *Opened, id ballast.VolumeID) (*tail.Shipper, error) {
	dir := a.node.dir(id)
	owner, err := OwnerOf(a.node.Disk, dir)
	if err != nil {
		return nil, err
	}
	save := func(state tail.State) error {
		return saveState(a.node.Disk, dir, State{Repository: o.Repo.ID(), Tail: &state, LSN: state.Last})
	}
	return tail.Resume(ctx, tail.Config{Store: o.Store, Sealer: o.Archive.Tail(), Volume: id, Save: save, Owner: owner}, nil)
}

// openOf returns what begins an epoch of a volume.
func (a *Writers) openOf(v Volume, epoch ballast.Epoch) tail.Open {
	if now, err := a.node.Records.ByID(v.ID); err == nil {
		v = now
	}
	return tail.Open{Epoch: epoch, Name: v.Name, Spec: v.Spec, Node: a.node.Name, Time: time.Now().UTC(), Origin: v.Origin}
}
