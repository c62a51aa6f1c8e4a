package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/replica"
)

// errTakenBack says that everybody who waited for an attach has gone.
var errTakenBack = errors.New("nobody waits for it any more; it was taken back")

// Attach mounts a volume on this node for a holder and returns its mountpoint.
// A holder may attach several times, and each takes a Detach. When ctx
// ends first, there is no hold.
func (n *node) Attach(ctx context.Context, name, holder string) (mountpoint string, err error) {
	defer n.meters.timeAttach(time.Now())(&err)
	ctx, cancel := context.WithTimeout(ctx, attachBudget)
	defer cancel()
	rec, err := n.findForHolder(ctx, name, holder)
	if err != nil {
		return "", fmt.Errorf("attach volume: %w", err)
	}
	s := n.slot(rec.ID)
	f, w, first := s.join(holder)
	if first && !n.do(func(ctx context.Context) { n.fly(ctx, s, f) }) {
		f.err = errEnding
		s.land(f)
		close(f.done)
	}
	mountpoint, err = n.await(ctx, s, f, w)
	if err != nil {
		n.noteAwaited(rec, holder, err)
		return "", fmt.Errorf("attach volume %q: %w", name, err)
	}
	return mountpoint, nil
}

var errEnding = fmt.Errorf("the agent is ending: %w", ballast.ErrNotReady)

// findForHolder looks up a volume that somebody wants to hold or let go.
func (n *node) findForHolder(ctx context.Context, name, holder string) (cluster.Record, error) {
	if err := checkHolder(holder); err != nil {
		return cluster.Record{}, err
	}
	rec, err := n.records.Get(name)
	if err != nil {
		return rec, err
	}
	return rec, n.waitAdopted(ctx)
}

// await waits for the outcome of a flight, or leaves it when ctx ends. A hold
// that was given at that very moment is returned: the caller has gone.
func (n *node) await(ctx context.Context, s *slot, f *flight, w *waiter) (string, error) {
	select {
	case <-f.done:
		return f.mountpoint, f.err
	case <-ctx.Done():
	}
	if !s.leave(f, w) {
		n.do(func(ctx context.Context) {
			<-f.done
			if f.err != nil {
				return
			}
			if err := n.letGo(ctx, s, w.holder, nil); err != nil {
				n.log.Warn("a hold that nobody waited for was not let go cleanly", "volume_id", s.id, "error", err)
			}
		})
	}
	if why := n.recordsSilent(); why != nil {
		return "", fmt.Errorf("%s was not done in time and is taken back, because the records cannot be changed: %w; see `ballast status`: %w", s.doing(), why, ctx.Err())
	}
	return "", fmt.Errorf("%s was not done in time and is taken back: %w", s.doing(), ctx.Err())
}

// fly brings about one attach for all who wait for it.
func (n *node) fly(ctx context.Context, s *slot, f *flight) {
	defer close(f.done)
	ctx, cancel := context.WithTimeout(ctx, attachBudget)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with fly
		select {
		case <-f.abandoned:
			cancel()
		case <-stop:
		}
	}()
	if f.err = n.acquire(ctx, s, "attaching"); f.err != nil {
		s.land(f)
		return
	}
	defer s.release()
	f.mountpoint, f.err = n.ensureAttached(ctx, s)
	holders := s.land(f)
	if f.err == nil {
		f.err = n.giveHolds(ctx, s, holders)
	}
	if f.err != nil {
		n.log.Warn("attach failed", "volume_id", s.id, "error", f.err)
	}
}

// giveHolds notes the holders of a mounted volume before they are told (A2). With
// none left, the volume is unmounted again (A3).
func (n *node) giveHolds(ctx context.Context, s *slot, holders []string) error {
	state := s.remembered()
	for _, h := range holders {
		state = state.with(h, sinceBoot())
	}
	err := errTakenBack
	if len(holders) > 0 {
		err = n.remember(s, state)
	}
	if err != nil && len(s.remembered().Holders) == 0 {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoBudget)
		defer cancel()
		err = errors.Join(err, n.unmount(undo, s))
	}
	return err
}

// ensureAttached mounts the volume unless it is mounted already. The caller has
// the slot's lock.
func (n *node) ensureAttached(ctx context.Context, s *slot) (string, error) {
	if a := s.current(); a != nil {
		well, err := n.stillWell(ctx, s, a)
		if err == nil && well && a.partial {
			err = n.mountAgain(ctx, s, a)
		}
		if well || err != nil {
			return a.mountpoint, err
		}
	}
	n.health.clear(s.id, condNotGrown)
	a, err := n.bringUp(ctx, s)
	if err != nil {
		return "", err
	}
	s.setAttached(a)
	n.startShipping(s, a)
	n.lookAfterSoon(s)       // what changed meanwhile was told to nobody
	n.watchEngine(ctx, s, a) // whoever asks next is told what the engine says
	n.health.clear(s.id, condEngineFailed, condEngineSilent, condEngineError, condStillMounted, condStaleHolders, condFenced)
	n.log.Info("attached volume", "volume", a.record.Name, "volume_id", s.id, "epoch", uint64(a.record.Epoch), "device", a.loop, "mountpoint", a.mountpoint)
	return a.mountpoint, nil
}

// mountAgain puts back what an unmounting that failed took away.
func (n *node) mountAgain(ctx context.Context, s *slot, a *attachment) error {
	if err := n.mount(ctx, s, a); err != nil {
		return err
	}
	a.partial = false
	a.tending.Store(false)
	n.health.clear(s.id, condStillMounted)
	return nil
}

// stillWell looks at an engine that should be running. One that is gone is swept
// away, so that a fresh attach can follow; one that does not answer is an error:
// who opened a file on it now would hang.
func (n *node) stillWell(ctx context.Context, s *slot, a *attachment) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	status, err := a.engine.Status(ctx)
	switch {
	case err == nil && status.Error != "":
		return true, fmt.Errorf("the engine accepts nothing more: %s; nothing acknowledged is lost; stop what uses the volume, then attach it again", status.Error)
	case err == nil:
		return true, nil
	case errors.Is(err, errEngineGone):
		n.bury(ctx, s, a)
		return false, nil
	}
	return true, fmt.Errorf("the volume is mounted, but its engine does not answer; it may be stopped (see `ballast volume inspect %s`): %w", a.record.Name, err)
}

// bringUp takes a volume from its record to its mountpoint, or leaves nothing.
func (n *node) bringUp(ctx context.Context, s *slot) (_ *attachment, err error) {
	a, err := n.raise(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := n.mount(ctx, s, a); err != nil {
		return nil, errors.Join(err, n.takeDown(ctx, s, a))
	}
	return a, nil
}

// raise claims a volume and starts its engine, or leaves nothing.
func (n *node) raise(ctx context.Context, s *slot) (_ *attachment, err error) {
	rec, w, session, err := n.claim(ctx, s)
	if err != nil {
		return nil, err
	}
	a := &attachment{record: rec, mountpoint: n.mountpoint(rec.Name), deviceFile: n.path(s.dir, deviceName)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.takeDown(ctx, s, a))
		}
	}()
	if err := n.clearWay(ctx, s, a); err != nil {
		return nil, err
	}
	if err := n.makeFiles(ctx, s, rec, w); err != nil {
		return nil, err
	}
	a.confirm(session)
	m := n.membersOf(rec, session)
	if a.engine, err = n.engines.Spawn(ctx, n.path(s.dir), m); err != nil {
		return nil, err
	}
	a.told.members = m
	n.confirmRising(s, a, m)
	return a, nil
}

// confirmRising confirms an engine whose volume is not attached yet, when another session begins before it is:
// mounting reads from the device, and waits for that. It has its own idea of what was told: the attachment
// changes while it is mounted.
func (n *node) confirmRising(s *slot, a *attachment, m replica.Members) {
	rising := &attachment{record: a.record, engine: a.engine, mountpoint: a.mountpoint, deviceFile: a.deviceFile}
	rising.confirm(m.Session)
	rising.told.members = m
	s.setRising(rising)
	n.do(func(ctx context.Context) { n.confirmPatiently(ctx, s) })
}

// clearWay takes away what is in the way of a new engine: one that nobody knows
// of, or what a dead one left.
func (n *node) clearWay(ctx context.Context, s *slot, a *attachment) error {
	forgotten, err := n.engines.Dial(ctx, n.path(s.dir))
	if errors.Is(err, errEngineGone) {
		return n.devices.Sweep(ctx, a.deviceFile)
	}
	if err != nil {
		return fmt.Errorf("see whether an engine runs for the volume: %w", err)
	}
	n.log.Warn("an engine runs that nobody attached, and is stopped", "volume", a.record.Name)
	defer forgotten.Close() // only forgets it
	if err := n.devices.Detach(ctx, a.deviceFile); err != nil {
		return err
	}
	return forgotten.Stop(ctx)
}

// mount makes the device of a running engine and mounts it, at the size that the
// volume shall have.
func (n *node) mount(ctx context.Context, s *slot, a *attachment) error {
	rec := a.record
	if err := n.growEngine(ctx, a, rec.Spec.Size); err != nil {
		return err
	}
	at, err := n.devices.Attach(ctx, deviceSpec(a, rec))
	if err != nil {
		return err
	}
	a.loop = at.Loop
	if !rec.Formatted {
		if a.record, err = n.records.Formatted(ctx, s.id, rec.Epoch); err != nil {
			return err
		}
	}
	err = n.growFilesystem(ctx, s, a, rec.Spec.Size, at.Formatted)
	if err != nil && ctx.Err() == nil {
		n.noteSmall(s, a, err) // what it has works, and that is what is asked for
		return nil
	}
	return err
}

// deviceSpec says what device a volume wants. A volume that was formatted once,
// and now is blank, has lost its data: it is not formatted again (A7).
func deviceSpec(a *attachment, rec cluster.Record) device.Spec {
	return device.Spec{
		DeviceFile: a.deviceFile,
		Mountpoint: a.mountpoint,
		Filesystem: rec.Spec.FS,
		MayFormat:  !rec.Formatted || rec.Spec.Class == ballast.Scratch,
		UID:        int(rec.Spec.UID),
		GID:        int(rec.Spec.GID),
		Mode:       rec.Spec.Mode,
	}
}

func (n *node) growEngine(ctx context.Context, a *attachment, size int64) error {
	status, err := a.engine.Status(ctx)
	if err != nil || status.Size >= size {
		return err
	}
	return a.engine.Resize(ctx, size)
}

// growFilesystem makes the mounted filesystem as large as the volume, unless it
// was before, and remembers that.
func (n *node) growFilesystem(ctx context.Context, s *slot, a *attachment, size int64, fresh bool) error {
	state := s.remembered()
	if state.FilesystemSize == size && !fresh {
		return nil
	}
	if !fresh {
		if err := n.devices.Grow(ctx, a.deviceFile, size); err != nil {
			return err
		}
	}
	state.FilesystemSize = size
	return n.remember(s, state)
}

func (n *node) noteSmall(s *slot, a *attachment, err error) {
	n.log.Warn("volume did not grow", "volume", a.record.Name, "error", err)
	n.health.raise(s.id, condNotGrown, fmt.Sprintf("The filesystem of volume %q is smaller than its volume, because it did not grow: %v. Its data is safe.", a.record.Name, err),
		"mend that; it is tried again at the next attach and by `ballast volume resize`")
}
