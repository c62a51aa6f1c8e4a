package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/engine"
)

// Detach ends one hold; the last one unmounts the volume. A holder that has none
// is no error. It returns when the hold is gone for good and, within reason, the
// volume is unmounted; unmounting that takes longer goes on by itself.
func (n *node) Detach(ctx context.Context, name, holder string) error {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	if holder == tendHolder {
		return n.yieldByName(ctx, name)
	}
	rec, err := n.findForHolder(ctx, name, holder)
	if err != nil {
		return fmt.Errorf("detach volume: %w", err)
	}
	s := n.slot(rec.ID)
	if a := s.current(); a != nil && a.isOver() != "" {
		// It is being taken away, and its holds with it. Docker asks while it ends a container
		// for that, and says that it is ended when it is answered: who takes it away waits for that.
		return nil
	}
	released, done := make(chan struct{}), make(chan error, 1)
	ok := n.do(func(ctx context.Context) { done <- n.letGo(ctx, s, holder, func() { close(released) }) })
	if !ok {
		return fmt.Errorf("detach volume %q: %w", name, errEnding)
	}
	if err := awaitDetach(ctx, released, done); err != nil {
		return fmt.Errorf("detach volume %q: %w", name, err)
	}
	return nil
}

func awaitDetach(ctx context.Context, released <-chan struct{}, done <-chan error) error {
	patience := time.NewTimer(detachPatience)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
	case <-ctx.Done():
	}
	select {
	case <-released:
		return nil
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("an earlier step on the volume has not ended; the hold is let go when it has: %w", ctx.Err())
	}
}

// letGo takes one hold away and unmounts the volume when it was the last. It
// calls released, unless that is nil, once the hold is gone from disk.
func (n *node) letGo(ctx context.Context, s *slot, holder string, released func()) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unmountBudget)
	defer cancel()
	if err := n.acquire(ctx, s, "detaching"); err != nil {
		return err
	}
	defer s.release()
	state := s.remembered()
	if _, holds := state.Holders[holder]; !holds {
		return nil
	}
	if err := n.remember(s, state.without(holder)); err != nil {
		return err
	}
	if released != nil {
		released()
	}
	if len(s.remembered().Holders) > 0 || s.current() == nil {
		return nil
	}
	return n.unmountPatiently(ctx, s)
}

// unmountPatiently unmounts a volume that nobody holds. Writing back may take
// minutes, and goes on for as long as the engine shows that it lives.
func (n *node) unmountPatiently(ctx context.Context, s *slot) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched, running := make(chan struct{}), s.current().engine
	go func() { // ends with the context, which ends with this call
		defer close(watched)
		n.cancelWhenStuck(ctx, s, running, cancel)
	}()
	err := n.unmount(ctx, s)
	cancel()
	<-watched
	if err == nil {
		n.health.clear(s.id, condStillMounted) // which may have been said at the last moment
	}
	return err
}

// cancelWhenStuck cancels an unmounting whose engine answers nothing any more. One that waits for
// other copies is said to: whoever detached was told that it goes on by itself.
func (n *node) cancelWhenStuck(ctx context.Context, s *slot, e process, cancel context.CancelFunc) {
	last, began := time.Now(), time.Now()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		asked, done := context.WithTimeout(ctx, statusBudget)
		status, err := e.Status(asked)
		done()
		if err == nil {
			last = time.Now()
			if status.Stall != "" && time.Since(began) > detachPatience {
				n.noteSlowDetach(ctx, s.id, status.Stall)
			}
		} else if time.Since(last) > stuckAfter {
			cancel()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// noteSlowDetach says why a volume that nobody holds is still mounted.
func (n *node) noteSlowDetach(ctx context.Context, id ballast.VolumeID, stall string) {
	if ctx.Err() != nil {
		return // it has ended meanwhile
	}
	n.health.raise(id, condStillMounted, fmt.Sprintf("Volume %q has no holder and is not unmounted yet, because its last writes wait: %s. Nothing acknowledged is lost. After %s it is taken down all the same, and what no fsync was answered for may be lost, as in a power cut.",
		n.nameOf(id), stall, unmountBudget),
		"see `ballast node ls` and `ballast volume inspect "+n.nameOf(id)+"`; it is unmounted by itself as soon as the copies that it waits for answer")
}

// unmount ends the attachment of a volume that nobody holds. Where that fails, as
// when somebody uses the filesystem still, the volume stays attached, and tidying
// up tries again; but when ctx ends, it is ended by force. The caller has the
// slot's lock.
func (n *node) unmount(ctx context.Context, s *slot) error {
	a := s.current()
	if a == nil {
		return nil
	}
	s.setProcessing("unmounting")
	a.partial = true
	err := n.devices.Detach(ctx, a.deviceFile)
	if err == nil {
		n.shipLast(ctx, s, a)
		err = n.stopEngine(ctx, a)
	} else if ctx.Err() != nil {
		err = errors.Join(err, n.killEngine(ctx, a))
	}
	if err != nil && ctx.Err() == nil {
		n.health.raise(s.id, condStillMounted, fmt.Sprintf("Volume %q has no holder, but cannot be unmounted: %v. Its data is safe.", a.record.Name, err),
			"find what uses it with `grep "+a.mountpoint+" /proc/*/mountinfo` and stop it; the volume is unmounted then")
		return err
	}
	n.health.clear(s.id, condStillMounted)
	n.giveUp(ctx, s, a)
	n.log.Info("detached volume", "volume", a.record.Name, "volume_id", s.id, "epoch", uint64(a.record.Epoch))
	return err
}

// giveUp forgets an attachment whose device and engine are gone. That the record
// still names this node harms nobody: tidying up tells it again.
func (n *node) giveUp(ctx context.Context, s *slot, a *attachment) {
	s.setAttached(nil)
	n.endShipping(s, a)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordBudget)
	defer cancel()
	if _, err := n.records.Release(ctx, s.id, a.record.Epoch); err != nil {
		n.log.Warn("the record still names this node as the holder; it is told again", "volume", a.record.Name, "error", err)
	}
}

// stopEngine ends an engine, by force when it does not end in time. One whose
// device is in use goes on.
func (n *node) stopEngine(ctx context.Context, a *attachment) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopBudget)
	defer cancel()
	err := a.engine.Stop(ctx)
	if err == nil || errors.Is(err, errEngineGone) {
		return nil
	}
	if errors.Is(err, engine.ErrUnsettled) { // it is gone, and the next attach goes on from its log
		n.log.Warn("an engine ended without the word of the volume's other copies on its last records; nothing acknowledged is lost", "volume", a.record.Name, "error", err)
		return nil
	}
	if ctx.Err() == nil {
		return err
	}
	return n.killEngine(ctx, a)
}

// killEngine ends an engine as a crash would, and takes away what it leaves.
func (n *node) killEngine(ctx context.Context, a *attachment) error {
	n.log.Warn("engine is stuck and killed; what was not flushed is lost, as in a power cut", "volume", a.record.Name)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepBudget)
	defer cancel()
	return errors.Join(a.engine.Kill(), n.devices.Sweep(ctx, a.deviceFile))
}

// shipLast brings the end of the log into the archive, where that is a matter of a moment:
// Docker waits. What does not get there stays in the log for the next attach.
func (n *node) shipLast(ctx context.Context, s *slot, a *attachment) {
	w := s.archiver()
	if w == nil || !w.IsWell() || a.goesOver {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastTail)
	defer cancel()
	if err := w.Flush(ctx); err != nil {
		n.log.Info("the end of the volume's log is not archived yet; it is kept for the next attach", "volume", a.record.Name, "error", err)
	}
}

// endShipping ends the archiving of an attachment, and forgets its engine. A store that
// hangs keeps nobody waiting.
func (n *node) endShipping(s *slot, a *attachment) {
	w := s.archiver()
	s.setArchiver(nil)
	forget := func() {
		if a.engine != nil {
			_ = a.engine.Close() // only forgets it
		}
	}
	if w == nil || w.End(lastTail) {
		forget()
		return
	}
	n.do(func(context.Context) { <-w.Ended(); forget() })
}

// takeDown takes back an attach that failed half way.
func (n *node) takeDown(ctx context.Context, s *slot, a *attachment) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoBudget)
	defer cancel()
	var err error
	if a.engine != nil {
		err = n.devices.Detach(ctx, a.deviceFile)
		err = errors.Join(err, n.stopEngine(ctx, a))
	} else {
		err = n.devices.Sweep(ctx, a.deviceFile)
	}
	n.giveUp(ctx, s, a)
	return err
}

// bury takes away what a dead engine left. Who held the volume has a filesystem
// that answers with errors; the holds are void (A8). The caller has the slot's
// lock.
func (n *node) bury(ctx context.Context, s *slot, a *attachment) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepBudget)
	defer cancel()
	n.log.Error("engine died; what was flushed is safe", "volume", a.record.Name, "volume_id", s.id, "epoch", uint64(a.record.Epoch), "holders", s.remembered().names())
	n.meters.engineDeaths.Inc()
	if err := n.devices.Sweep(ctx, a.deviceFile); err != nil {
		n.log.Warn("some of what a dead engine left is still there; the next attach tries again", "volume", a.record.Name, "error", err)
	}
	state := s.remembered()
	state.Holders = nil
	if err := n.remember(s, state); err != nil {
		n.log.Warn("holds on a dead engine are still on disk; the next attach ends them", "volume", a.record.Name, "error", err)
	}
	n.giveUp(ctx, s, a)
	n.mourn(s, a.record.Name)
}

// mourn says what happened, and then that it did.
func (n *node) mourn(s *slot, name string) {
	n.health.raise(s.id, condEngineFailed, fmt.Sprintf("The engine of volume %q died; everything that was flushed is safe, what uses the volume gets errors.", name),
		"restart what uses it: the volume is attached afresh then; engine.log in the volume's folder says why it died")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
}
