package archiver

import (
	"context"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/volume"
)

// continues reports whether a log has what the archive has: the record that was shipped last, under
// the epoch that it was shipped under. Where the log does not know any more, it has.
func continues(archived tail.State, log volume.Lineage, last ballast.LSN) bool {
	if archived.Last == 0 || len(log) == 0 {
		return true // there is nothing, or the engine is older than this question
	}
	if archived.Last > last {
		return false
	}
	theirs := volume.Lineage{{Epoch: archived.Epoch, From: archived.Parent.LSN + 1}}
	if archived.Last == archived.Parent.LSN { // the epoch was opened, and has nothing
		theirs = volume.Lineage{{Epoch: archived.Parent.Epoch, From: archived.Last}}
	}
	at, known := log.Common(last, theirs, archived.Last)
	return !known || at == archived.Last
}

// fork is where a log leaves what the archive has.
type fork struct {
	at     tail.Position // the last record that both have
	epoch  ballast.Epoch // of the log, the first that is higher than all in the archive
	behind ballast.LSN   // what it wrote before that epoch; what is between cannot be archived any more
	newest time.Time     // the newest point that both have; zero: none
}

// findFork decides where a log that lacks what the archive has continues the history.
func findFork(line *tail.Line, log volume.Lineage, last ballast.LSN) (fork, error) {
	var theirs volume.Lineage
	for _, p := range line.Epochs() {
		if p.Epoch == 0 {
			continue
		}
		if n := len(theirs); n > 0 && theirs[n-1].From == p.LSN {
			theirs = theirs[:n-1] // nothing was written under it
		}
		theirs = append(theirs, volume.Reign{Epoch: p.Epoch, From: p.LSN})
	}
	f := fork{at: line.Root()}
	if common, known := log.Common(last, theirs, line.Last()); known && common > f.at.LSN {
		f.at = line.Position(common)
	}
	for _, p := range line.Points() {
		if p.LSN <= f.at.LSN {
			f.newest = p.Time
		}
	}
	for _, r := range log {
		if r.Epoch > line.Epoch {
			f.epoch, f.behind = r.Epoch, max(r.From-1, f.at.LSN)
			return f, nil
		}
	}
	return f, fmt.Errorf("the archive has the volume's epoch %d, and its log ends with %d: %w", line.Epoch, log.Epoch(), ballast.ErrNotReady)
}

// leaveFork makes the history continue where this copy does, when the copy lacks what the archive has:
// an operator had the volume go on from it, at the price of what it lacks. What the archive has of that
// is no part of the history from now on; records with the same numbers are written again.
func (w *Shipping) leaveFork(ctx context.Context, o *Opened, writer *tail.Shipper) error {
	status, err := w.ask(ctx)
	if err != nil {
		return err
	}
	archived := writer.State()
	if continues(archived, status.Lineage, status.Last) {
		return nil
	}
	line, err := tail.NewReader(o.Store, o.Archive.Tail()).Load(ctx, w.volume.ID, 0)
	if err != nil {
		return fmt.Errorf("find where the volume's history goes on: %w", err)
	}
	f, err := findFork(line, status.Lineage, status.Last)
	if err != nil {
		return err
	}
	open := w.all.openOf(w.volume, f.epoch)
	open.Parent = f.at
	// At once: until it is, a base snapshot would take one of the other way for its parent.
	if err := writer.OpenEpoch(ctx, open); err != nil {
		return err
	}
	w.mu.Lock()
	w.state = State{Repository: w.state.Repository, Tail: w.state.Tail, LSN: f.behind, Until: f.newest, Gaps: w.state.Gaps}.withGap(f.newest)
	w.dirty, w.complete, w.touched = true, false, chunkSet{}
	w.mu.Unlock()
	w.noteFork(f, archived.Last)
	return nil
}

// noteFork says what became of the history.
func (w *Shipping) noteFork(f fork, lost ballast.LSN) {
	from := "its beginning"
	if !f.newest.IsZero() {
		from = f.newest.UTC().Format(time.RFC3339)
	}
	w.all.node.Log.Error("the volume goes on from a copy that lacks what the archive has", "volume", w.volume.Name, "common_lsn", uint64(f.at.LSN), "archived_lsn", uint64(lost), "from", f.newest)
	w.all.node.Health.Raise(w.volume.ID, CondGap, fmt.Sprintf("Volume %q cannot be restored to moments after %s until a base snapshot is taken: it goes on from a copy that lacked what was written after that.", w.volume.Name, from),
		"nothing: a base snapshot is taken as soon as the archive answers")
}
