package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast/internal/archive/tail"
)

// What ends a history, or interrupts it.

// skip goes on behind the records that the log no longer has.
func (w *Shipping) skip(ctx context.Context) error {
	status, err := w.ask(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	known := w.state.LSN
	w.state.LSN = max(known, status.Recycled)
	w.mu.Unlock()
	if status.Recycled <= known {
		return fmt.Errorf("%w for the records behind LSN %d: they are neither there nor gone", errEngineAsked, known)
	}
	why := "the archive was away for longer than the log could wait"
	if status.Archived == 0 || status.Archived == known { // the archive was not asked to wait for
		if status.MissingChunks > 0 {
			why = "it goes on from the copy on another node, which had more than was archived"
		}
	}
	if err := w.findUntil(ctx); err != nil {
		return err
	}
	w.noteGap(why)
	return nil
}

// findUntil looks up the newest point that the archive has, where it is not remembered: another
// node shipped it.
func (w *Shipping) findUntil(ctx context.Context) error {
	w.mu.Lock()
	known := !w.state.Until.IsZero() || w.state.HasBase || w.state.TailObjects > 0
	w.mu.Unlock()
	if known || w.tail.State().Epoch == 0 {
		return nil
	}
	line, err := tail.NewReader(w.tail.Store, w.tail.Sealer).Load(ctx, w.volume.ID, 0)
	if err != nil {
		return fmt.Errorf("find the newest point in the archive: %w", err)
	}
	points := line.Points()
	if len(points) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.Until = points[len(points)-1].Time
	return nil
}

// noteGap says that until the next base snapshot nothing newer can be restored.
func (w *Shipping) noteGap(why string) {
	w.mu.Lock()
	from, had := w.state.Until, w.state.HasBase || w.state.TailObjects > 0 || !w.state.Until.IsZero()
	if had {
		w.state, w.dirty = w.state.withGap(from), true
	}
	w.mu.Unlock()
	if !had {
		return // nothing of the volume was archived before: its history begins with a base snapshot
	}
	w.all.node.Log.Error("the volume's history has a gap until the next base snapshot", "volume", w.volume.Name, "from", from, "reason", why)
	w.all.node.Health.Raise(w.volume.ID, CondGap, fmt.Sprintf("Volume %q cannot be restored to moments after %s until a base snapshot is taken: %s. The volume itself has lost nothing.", w.volume.Name, from.UTC().Format(time.RFC3339), why),
		"nothing: a base snapshot is taken as soon as the archive answers")
}

var errFenced = errors.New("somebody else has continued the volume's history")

func (w *Shipping) isFenced() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.fenced() {
		w.raiseFenced()
	}
	return w.state.fenced()
}

// fence ends shipping for good: the tail has remembered that.
func (w *Shipping) fence(err error) error {
	w.all.node.Log.Error("somebody else has continued the volume's history in the archive; nothing more is archived from here", "volume", w.volume.Name, "error", err)
	w.raiseFenced()
	return fmt.Errorf("%w: %w", errFenced, err)
}

func (w *Shipping) raiseFenced() {
	if now, err := w.all.node.Records.ByID(w.volume.ID); err == nil && now.Epoch > w.volume.Epoch {
		return // another node of the cluster has the volume, and this one is about to hear of it
	}
	w.all.node.Health.Raise(w.volume.ID, CondFenced, fmt.Sprintf("Volume %q is not archived any more: another machine recovered it and continues its history. What is written here is on this machine alone.", w.volume.Name),
		fmt.Sprintf("decide which copy is the right one. If it is the other: stop what uses this one and `ballast volume rm %s`", w.volume.Name))
}
