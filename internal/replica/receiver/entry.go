package receiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// entry is a volume that this node has a copy of, or had, or is to have.
type entry struct {
	r    *Receiver
	id   ballast.VolumeID
	turn chan struct{} // full while a stream, a Take or a Prepare has the copy (F1)

	// guarded by Receiver.mu
	fence   ballast.Epoch // lower ones are refused (F2)
	taken   ballast.Epoch // this node leads under it: refused as well
	stream  *session
	leader  ballast.NodeID
	since   time.Time
	ended   error                // why the latest stream did
	state   volume.FollowerState // as it was last seen
	counted bool                 // state is worth telling

	pins atomic.Int32 // what keeps the copy from being closed
	used atomic.Int64 // when it was last used, monotonic

	mu     sync.RWMutex // held to use the copy; alone, to open or close it
	copy   Copy
	opened uint64 // how often
	stop   context.CancelFunc
	ran    chan error
}

// enter waits for the copy to be nobody else's, and ends the stream that it is. The
// caller must leave. s is the stream that enters, nil for whatever else does.
func (e *entry) enter(ctx context.Context, epoch ballast.Epoch, s *session) error {
	if err := e.raise(epoch, s); err != nil {
		return err
	}
	e.endStream(fmt.Errorf("%w: a later stream, or this node, took the copy over", ballast.ErrInUse))
	ctx, cancel := context.WithTimeout(ctx, 2*e.r.cfg.Patience)
	defer cancel()
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: an earlier stream of it has not ended: its disk may be hanging", ballast.ErrInUse)
	}
	if err := e.raise(epoch, s); err != nil { // a higher one may have come in between
		<-e.turn
		return err
	}
	e.closeIfFailed()
	e.r.mu.Lock()
	defer e.r.mu.Unlock()
	if s != nil {
		e.stream, e.leader, e.since = s, s.peer, time.Now()
	}
	return nil
}

// closeIfFailed closes a copy that accepts nothing more: opened again, it has what is
// really on the disk.
func (e *entry) closeIfFailed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.copy == nil || e.copy.State().Err == nil {
		return
	}
	if err := e.closeLocked(); err != nil {
		e.r.cfg.Log.Warn("copy failed", "volume", e.id, "error", err)
	}
}

// raise keeps F2: an epoch counts from the moment it is heard of. 0 stands for no epoch.
func (e *entry) raise(epoch ballast.Epoch, s *session) error {
	e.r.mu.Lock()
	defer e.r.mu.Unlock()
	if e.r.closed {
		return errClosed
	}
	low := epoch < e.fence || s != nil && epoch <= e.taken
	if epoch > 0 && low && !seeded(serveOldEpoch) {
		return fmt.Errorf("%w: %v was heard of here, %v is over", volume.ErrStaleEpoch, max(e.fence, e.taken), epoch)
	}
	e.fence = max(e.fence, epoch)
	return nil
}

// leave ends a turn.
func (e *entry) leave() { <-e.turn }

// left notes how a stream ended, and ends its turn.
func (e *entry) left(err error) {
	e.r.mu.Lock()
	e.stream, e.leader, e.since, e.ended = nil, "", time.Now(), err
	e.r.mu.Unlock()
	e.leave()
}

// endStream makes the present stream end.
func (e *entry) endStream(why error) {
	e.r.mu.Lock()
	s := e.stream
	e.r.mu.Unlock()
	if s != nil {
		s.cancel(why)
	}
}

// use calls f with the copy, which is opened if it is not; see [Config.Open] for size.
func (e *entry) use(ctx context.Context, size int64, f func(Copy) error) error {
	if err := e.lock(ctx, size); err != nil {
		return err
	}
	defer e.mu.RUnlock()
	e.used.Store(int64(e.r.now()))
	return f(e.copy)
}

// lock returns with mu held and the copy open.
func (e *entry) lock(ctx context.Context, size int64) error {
	for {
		e.mu.RLock()
		if e.copy != nil {
			return nil
		}
		e.mu.RUnlock()
		if err := e.open(ctx, size); err != nil {
			return err
		}
	}
}

func (e *entry) open(ctx context.Context, size int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.copy != nil {
		return nil
	}
	e.r.mu.Lock()
	closed := e.r.closed
	e.r.mu.Unlock()
	if closed {
		return errClosed
	}
	c, err := e.r.cfg.Open(ctx, e.id, size)
	if err != nil {
		return err
	}
	e.copy = c
	e.opened++
	e.used.Store(int64(e.r.now()))
	e.start(ctx)
	return nil
}

// start runs the copy, beyond ctx and until rest. The caller holds mu alone.
func (e *entry) start(ctx context.Context) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c, ran := e.copy, make(chan error, 1)
	e.stop, e.ran = stop, ran
	go func() { ran <- c.Run(ctx) }()
}

// rest stops running the copy, and returns why it had stopped by itself, if it had.
func (e *entry) rest() error {
	e.stop()
	return <-e.ran
}

// useAlone is use for what must wait until the copy's background work has come to a stop:
// folding takes its time for the sake of writers, and would take that of a new leader.
func (e *entry) useAlone(ctx context.Context, size int64, f func(Copy) error) error {
	if err := e.lock(ctx, size); err != nil {
		return err
	}
	e.pins.Add(1)
	defer e.pins.Add(-1)
	e.mu.RUnlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.copy == nil {
		return fmt.Errorf("%w: the copy was closed", ballast.ErrInUse)
	}
	e.used.Store(int64(e.r.now()))
	if err := e.rest(); err != nil {
		e.r.cfg.Log.Warn("copy accepts nothing more", "volume", e.id, "error", err) // and says so below
	}
	defer e.start(ctx)
	return f(e.copy)
}

// close closes the copy, if it is open. It waits for those who use it.
func (e *entry) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closeLocked()
}

func (e *entry) closeLocked() error {
	if e.copy == nil {
		return nil
	}
	e.note(e.copy.State())
	ran := e.rest()
	err := e.copy.Close()
	e.copy, e.stop, e.ran = nil, nil, nil
	if err = errors.Join(ran, err); err != nil {
		return fmt.Errorf("close copy of volume %s: %w", e.id, err)
	}
	return nil
}

// closeIfIdle keeps F4.
func (e *entry) closeIfIdle() {
	if e.pins.Load() > 0 || e.r.now()-time.Duration(e.used.Load()) < e.r.cfg.Idle || !e.mu.TryLock() {
		return
	}
	defer e.mu.Unlock()
	if e.pins.Load() > 0 {
		return
	}
	if err := e.closeLocked(); err != nil {
		e.r.cfg.Log.Warn("copy not closed well", "volume", e.id, "error", err)
	}
}

func (e *entry) note(s volume.FollowerState) {
	e.r.mu.Lock()
	defer e.r.mu.Unlock()
	e.state, e.counted = s, true
}

// report says where the copy stands, without waiting for a disk; false: that was never
// known.
func (e *entry) report() (CopyStatus, bool) {
	if e.mu.TryRLock() {
		if e.copy != nil {
			e.note(e.copy.State())
		}
		e.mu.RUnlock()
	}
	e.r.mu.Lock()
	defer e.r.mu.Unlock()
	s := e.state
	status := CopyStatus{
		Volume: e.id, Leader: e.leader, Epoch: max(s.Epoch, e.fence), Lineage: s.Lineage, Last: s.Last, Durable: s.Durable,
		Committed: s.Committed, Applied: s.Applied, Complete: s.Complete, Since: e.since,
	}
	if all := s.Missing + s.Staged; all > 0 {
		status.Progress = float64(s.Staged) / float64(all)
	}
	if err := errors.Join(s.Err, e.ended); err != nil {
		status.Err = err.Error()
	}
	return status, e.counted || e.stream != nil || e.ended != nil
}
