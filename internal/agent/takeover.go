package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
)

// takeOver finds out what the last agent left on this node (A9). Volumes are
// looked at side by side: one that hangs does not keep the others waiting. A
// volume that is not in the view yet is taken over when it appears there.
func (n *node) takeOver(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(8)
	for _, rec := range append(n.records.List(), n.records.Trash()...) {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, sweepBudget)
			defer cancel()
			s := n.slot(rec.ID)
			if err := n.acquire(ctx, s, "taking over"); err != nil {
				n.log.Warn("volume is not taken over yet", "volume", rec.Name, "error", err)
				return nil
			}
			s.release()
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	close(n.adopted)
}

// takeOverNew takes over volumes whose records were not known before.
func (n *node) takeOverNew() {
	for _, rec := range append(n.records.List(), n.records.Trash()...) {
		if s := n.slot(rec.ID); !s.isTaken() {
			n.do(func(ctx context.Context) {
				if n.acquire(ctx, s, "taking over") == nil {
					s.release()
				}
			})
		}
	}
}

// acquire takes a slot's lock, as [slot.acquire] does, and takes the volume over
// when that has not been done yet.
func (n *node) acquire(ctx context.Context, s *slot, what string) error {
	if err := s.acquire(ctx, what); err != nil {
		return err
	}
	if s.isTaken() {
		return nil
	}
	if err := n.takeOverVolume(ctx, s); err != nil {
		s.release()
		return err
	}
	return nil
}

// tryAcquire is acquire that does not wait.
func (n *node) tryAcquire(s *slot, what string) bool { return s.isTaken() && s.tryAcquire(what) }

func (s *slot) isTaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

func (n *node) takeOverVolume(ctx context.Context, s *slot) error {
	rec, err := n.records.ByID(s.id)
	if err != nil {
		return err
	}
	state, err := loadAttachment(n.disk, s.dir, n.boot)
	if err != nil {
		n.log.Warn("who held the volume is unreadable and taken for nobody", "volume", rec.Name, "error", err)
		state = attachmentState{Epoch: rec.Epoch}
	}
	archived, err := archiver.LoadState(n.disk, s.dir)
	if err != nil {
		n.log.Warn("what was archived of the volume is not remembered, and is looked up in the archive", "volume", rec.Name, "error", err)
	}
	s.mu.Lock()
	s.state, s.lastArchived = state, archived
	s.mu.Unlock()
	if _, err := os.Stat(n.path(s.dir)); err == nil {
		if err := n.adopt(ctx, s, rec); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = true
	return nil
}

// adopt takes over what runs for a volume, or takes away what is left of it. An
// engine that cannot be told dead from alive is an error, and asked again.
func (n *node) adopt(ctx context.Context, s *slot, rec cluster.Record) error {
	a := &attachment{record: rec, mountpoint: n.mountpoint(rec.Name), deviceFile: n.path(s.dir, deviceName)}
	a.record.Epoch, a.record.Primary = s.remembered().Epoch, n.cfg.Node
	found, err := n.engines.Dial(ctx, n.path(s.dir))
	if errors.Is(err, errEngineGone) {
		n.buryUnseen(ctx, s, a)
		return nil
	}
	if err != nil {
		return fmt.Errorf("see whether the volume's engine runs: %w", err)
	}
	a.engine = found
	at, err := n.devices.Find(a.deviceFile)
	if err != nil || at.Mountpoint == "" {
		n.log.Warn("attach was not finished by the last agent and is taken back", "volume", rec.Name, "error", err)
		return n.takeDown(ctx, s, a)
	}
	// With no holder it is unmounted when the node tidies up.
	a.loop, a.mountpoint = at.Loop, at.Mountpoint
	n.learnSession(ctx, a)
	s.setAttached(a)
	n.startShipping(s, a)
	n.lookAfterSoon(s)
	n.log.Info("took over volume", "volume", rec.Name, "volume_id", rec.ID, "mountpoint", a.mountpoint, "holders", s.remembered().names())
	return nil
}

// learnSession asks an engine that is taken over under which session it was confirmed. One
// that does not answer is told of the next.
func (n *node) learnSession(ctx context.Context, a *attachment) {
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	if st, err := a.engine.Status(ctx); err == nil {
		a.confirm(st.Session)
		a.record.Epoch = max(a.record.Epoch, st.Epoch)
	}
}

// buryUnseen sweeps what an engine left that died while no agent ran. After a
// boot there is nothing to sweep, and nobody to mourn.
func (n *node) buryUnseen(ctx context.Context, s *slot, a *attachment) {
	if len(s.remembered().Holders) > 0 {
		n.bury(ctx, s, a)
		return
	}
	if err := n.devices.Sweep(ctx, a.deviceFile); err != nil {
		n.log.Warn("some of what a dead engine left is still there; the next attach tries again", "volume", a.record.Name, "error", err)
	}
}
