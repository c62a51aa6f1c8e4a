package archiver

import (
	"context"
	"errors"

	"github.com/ballast-io/ballast/internal/archive/tail"
)

// resume takes up the tail where it was left, by what is remembered or, without that, by
// what the archive has.
func (w *Shipping) resume(ctx context.Context, o *Opened) error {
	owner, err := OwnerOf(w.all.node.Disk, w.dir)
	if err != nil {
		return err
	}
	w.mu.Lock()
	saved := w.state.Tail
	w.mu.Unlock()
	writer, err := tail.Resume(ctx, tail.Config{Store: o.Store, Sealer: o.Archive.Tail(), Volume: w.volume.ID, Save: w.saveTail, Owner: owner}, saved)
	if err != nil {
		return err
	}
	if err := w.leaveFork(ctx, o, writer); err != nil {
		return err
	}
	w.tail = writer
	last := writer.State().Last
	w.mu.Lock()
	w.state.LSN = max(w.state.LSN, last)
	w.mu.Unlock()
	return w.acknowledge(ctx, last)
}

// saveTail remembers where the tail is. What decides who may continue it is on disk before
// anything of it is in the store; the rest is written now and then.
func (w *Shipping) saveTail(state tail.State) error {
	w.mu.Lock()
	old := w.state.Tail
	w.state.Tail, w.dirty = &state, true
	w.mu.Unlock()
	if old != nil && old.Epoch == state.Epoch && old.Nonce == state.Nonce && old.Next == state.Next && old.Fenced == state.Fenced {
		return nil
	}
	return w.save()
}

// settle does what an error or a crash left of the last shipment: the archive has the records, but
// its head may not say so. Nothing newer need ever come that would do it.
func (w *Shipping) settle(ctx context.Context) error {
	err := w.tail.Settle(ctx)
	if errors.Is(err, tail.ErrFenced) {
		return w.fence(err)
	}
	return err
}
