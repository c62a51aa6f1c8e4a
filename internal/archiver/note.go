package archiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/engine"
)

// behindAfter is how many failures in a row are worth an operator's eye: a store that
// hiccups once is not.
const behindAfter = 2

// note remembers how shipping went, for people.
func (w *Shipping) note(ctx context.Context, err error) {
	silent := errors.Is(err, errEngineAsked) && errors.Is(err, context.DeadlineExceeded)
	if errors.Is(err, errFenced) || errors.Is(err, engine.ErrNotRunning) || silent {
		return // said elsewhere
	}
	w.mu.Lock()
	if err == nil {
		w.failures, w.since, w.err = 0, time.Time{}, nil
	} else {
		if w.failures == 0 {
			w.since = time.Now()
		}
		w.failures++
		w.err = err
	}
	failures, since, until := w.failures, w.since, w.state.Until
	open := w.state.open()
	w.mu.Unlock()
	if !open {
		w.all.node.Health.Clear(w.volume.ID, CondGap)
	}
	if err == nil {
		w.all.node.Health.Clear(w.volume.ID, CondBehind)
		w.all.node.Quiet.Over("ship " + string(w.volume.ID))
		return
	}
	w.all.node.Meters.ShipFailed()
	if _, closed := w.all.vault.Get(); closed != nil {
		return // the archive as a whole is not well, and that is said
	}
	w.all.node.Quiet.Warn("ship "+string(w.volume.ID), "the archive does not take what the volume wrote; it waits in the log", "volume", w.volume.Name, "error", err)
	if failures < behindAfter {
		return
	}
	status, _ := w.ask(ctx) // without an answer the rest is said
	w.all.node.Health.Raise(w.volume.ID, CondBehind, behindTitle(w.volume.Name, since, until, inLog(Waiting(status), w.all.queue), err),
		"see `ballast archive status`; it goes on by itself when the archive answers")
}

func behindTitle(name string, since, until time.Time, waiting string, err error) string {
	newest := "nothing of it is archived yet"
	if !until.IsZero() {
		newest = "the newest moment in the archive is " + until.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("Volume %q is not archived since %s: %v. It works on; %s; %s. If this machine were lost now, what is not archived would be lost.",
		name, since.UTC().Format(time.RFC3339), err, newest, waiting)
}

// Waiting is how much of a volume's log is not archived. Engines that are older than the
// agent say it of whole segments only. It is in bytes.
func Waiting(s engine.Status) int64 { return cmp.Or(s.Waiting, s.QueueBytes) }

func inLog(bytes, room int64) string {
	return fmt.Sprintf("%s wait in its log, which keeps %s", ballast.FormatSize(bytes), ballast.FormatSize(room))
}

// saveNowAndThen writes the state down, unless that was done a moment ago. It is a
// copy: each write would cost the disk two syncs.
func (w *Shipping) saveNowAndThen() {
	w.mu.Lock()
	due := w.dirty && time.Since(w.saved) >= stateEvery
	w.mu.Unlock()
	if due {
		w.saveAtEnd()
	}
}

func (w *Shipping) saveAtEnd() {
	if err := w.save(); err != nil {
		w.all.node.Quiet.Warn("state "+string(w.volume.ID), "how far the volume is archived was not written down; it is looked up in the archive after a restart", "volume", w.volume.Name, "error", err)
	}
}

func (w *Shipping) save() error {
	w.mu.Lock()
	state, dirty := w.state, w.dirty
	w.dirty, w.saved = false, time.Now()
	w.mu.Unlock()
	if !dirty {
		return nil
	}
	err := saveState(w.all.node.Disk, w.dir, state)
	if err != nil {
		w.mu.Lock()
		w.dirty = true
		w.mu.Unlock()
	}
	return err
}
