package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/engine"
)

// How long each step of taking down what another node has taken over may take, until the
// next, which asks less kindly.
const (
	endUsersBudget = 15 * time.Second
	evictBudget    = 10 * time.Second
)

// evict ends an attachment that is over: another node is the volume's writer, or may be. What
// uses the volume has errors from now on, and is ended: it would go on with what it
// remembers, and others talk to it. What it wrote and nobody acknowledged is lost.
func (n *node) evict(ctx context.Context, s *slot, a *attachment, why string) {
	a.setOver(why) // whoever finds the engine dead meanwhile ends its users as well
	n.fenceEngine(ctx, a, why)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unmountBudget)
	defer cancel()
	if err := s.acquire(ctx, "fencing"); err != nil {
		n.log.Error("a volume that is another node's is not taken down yet", "volume", a.record.Name, "error", err)
		return
	}
	defer s.release()
	if s.current() == a {
		n.takeAway(ctx, s, a, why)
	}
}

// fenceEngine makes the engine fail everything. One that does not answer is killed: stopped,
// it would go on later.
func (n *node) fenceEngine(ctx context.Context, a *attachment, why string) {
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	err := a.engine.Fence(ctx, why)
	if err == nil || errors.Is(err, errEngineGone) {
		return
	}
	n.log.Warn("an engine whose volume is another node's does not answer, and is killed", "volume", a.record.Name, "error", err)
	if err := a.engine.Kill(); err != nil {
		n.log.Error("it was not killed", "volume", a.record.Name, "error", err)
	}
}

// takeAway ends who uses a fenced volume, and then takes the volume down. The caller has the
// slot's lock.
func (n *node) takeAway(ctx context.Context, s *slot, a *attachment, why string) {
	s.setProcessing("fencing")
	holders := s.remembered().names()
	n.log.Error("volume is another node's; what uses it here is ended", "volume", a.record.Name, "volume_id", s.id, "epoch", uint64(a.record.Epoch), "reason", why, "holders", holders)
	n.meters.engineDeaths.Inc()
	if killed := n.endUsers(ctx, a); len(killed) > 0 {
		n.awaited.add(s.id, killed)
	}
	if err := n.takeDownFenced(ctx, a); err != nil {
		n.log.Warn("some of a volume that is another node's is still here, and of no use; the next attach tries again", "volume", a.record.Name, "error", err)
	}
	state := s.remembered()
	// What was filling in begins anew (A25): it may be over because nobody can go on filling it.
	state.Holders, state.Since = nil, 0
	if err := n.remember(s, state); err != nil {
		n.log.Warn("holds on a volume that is another node's are still on disk; the next attach ends them", "volume", a.record.Name, "error", err)
	}
	n.giveUp(ctx, s, a)
	n.health.raise(s.id, condFenced, fmt.Sprintf("Volume %q was taken from this node: %s. What used it here was ended; everything that was acknowledged is on the other copies.", a.record.Name, why),
		"nothing: the copy here follows by itself, and containers with a restart policy are started when the volume can be had here again; where another node has it, start what used it there")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
}

// endFenced ends the condition of a volume that was fenced here when nothing is left to be said: its mount is
// gone, and a quorum says that the copy here has every acknowledged write again, or that there is none.
func (n *node) endFenced(s *slot) {
	if !n.health.holds(s.id, condFenced) || !n.mayClaim() {
		return
	}
	rec, err := n.records.ByID(s.id)
	follows := slices.Contains(rec.Copies, n.cfg.Node) && !slices.Contains(rec.InSync, n.cfg.Node)
	if err != nil || follows {
		return
	}
	if _, err := n.devices.Find(n.path(s.dir, deviceName)); errors.Is(err, ballast.ErrNotFound) {
		n.health.clear(s.id, condFenced)
	}
}

// endUsers kills the containers that use a volume, whose names it returns, and then every process
// that still does.
func (n *node) endUsers(ctx context.Context, a *attachment) (containers []string) {
	ctx, cancel := context.WithTimeout(ctx, endUsersBudget)
	defer cancel()
	killed, err := n.docker.KillUsers(ctx, a.record.Name, a.mountpoint)
	if len(killed) > 0 {
		n.log.Warn("killed containers that used a volume which is another node's", "volume", a.record.Name, "containers", killed)
	}
	if err != nil {
		n.log.Warn("containers that use a volume which is another node's are not known", "volume", a.record.Name, "error", err)
	}
	ended, err := n.users.EndUsers(ctx, a.mountpoint)
	if len(ended) > 0 {
		n.log.Warn("killed processes that used a volume which is another node's", "volume", a.record.Name, "processes", ended)
	}
	if err != nil {
		n.log.Warn("processes that use a volume which is another node's are not all known", "volume", a.record.Name, "error", err)
	}
	return killed
}

// takeDownFenced unmounts, or lets go of the mount where somebody keeps it, and ends the
// engine. There is nothing in it that anybody waits for.
func (n *node) takeDownFenced(ctx context.Context, a *attachment) error {
	unmounting, cancel := context.WithTimeout(ctx, evictBudget)
	detached := n.devices.Detach(unmounting, a.deviceFile)
	cancel()
	if detached != nil {
		n.log.Warn("a volume that is another node's is in use still, and is taken away from who uses it", "volume", a.record.Name, "error", detached)
	}
	sweeping, cancel := context.WithTimeout(ctx, sweepBudget)
	defer cancel()
	return errors.Join(a.engine.Kill(), n.devices.Sweep(sweeping, a.deviceFile))
}

// noteFenced ends an attachment whose engine says that another node may be the writer.
func (n *node) noteFenced(s *slot, a *attachment, status engine.Status) {
	if status.Fenced != "" {
		n.do(func(ctx context.Context) { n.evict(ctx, s, a, status.Fenced) })
	}
}
