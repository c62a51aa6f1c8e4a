package agent

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// reconcile compares the holds of Docker's mounts with the containers that there
// are. Docker loses unmounts, when it crashes or one times out, and never sends
// them again; the containers are the truth.
func (n *node) reconcile(ctx context.Context) {
	used, err := n.docker.UsedVolumes(ctx)
	if err != nil {
		n.log.Debug("holds are not compared with containers", "error", err)
		return
	}
	for _, s := range n.allSlots() {
		a := s.current()
		if a == nil || used[a.record.Name] {
			n.health.clear(s.id, condStaleHolders)
			continue
		}
		if old := s.remembered().stale(sinceBoot(), 0); len(old) > 0 {
			n.noteStale(s, a, old)
			n.do(func(ctx context.Context) { n.dropOld(ctx, s) })
		}
	}
}

func (n *node) noteStale(s *slot, a *attachment, holders []string) {
	n.health.raise(s.id, condStaleHolders, fmt.Sprintf("Volume %q is held for Docker, but no container uses it; its data is safe.", a.record.Name),
		fmt.Sprintf("nothing: it is let go when it stays so for %s; or now, with `ballast volume detach %s --holder %s`", holdGrace, a.record.Name, holders[0]))
}

// dropOld ends the holds that are old and stale, and unmounts a volume that has
// no other.
func (n *node) dropOld(ctx context.Context, s *slot) {
	if !n.tryAcquire(s, "letting go") {
		return
	}
	defer s.release()
	if n.dropStale(ctx, s, holdGrace) && len(s.remembered().Holders) == 0 {
		if err := n.unmountPatiently(ctx, s); err != nil {
			n.quiet.Warn("unmount "+string(s.id), "a volume that nobody holds cannot be unmounted", "volume", n.nameOf(s.id), "error", err)
		}
	}
}

// dropStale ends Docker's holds that are older than grace, if no container uses
// the volume, and reports whether it did. When Docker cannot be asked, every hold
// counts. The caller has the slot's lock.
func (n *node) dropStale(ctx context.Context, s *slot, grace time.Duration) bool {
	a, state := s.current(), s.remembered()
	if a == nil || len(state.stale(sinceBoot(), grace)) == 0 {
		return false
	}
	used, err := n.docker.UsedVolumes(ctx)
	if err != nil || used[a.record.Name] {
		return false
	}
	stale := state.stale(sinceBoot(), grace)
	for _, holder := range stale {
		for range state.Holders[holder].Count {
			state = state.without(holder)
		}
	}
	if err := n.remember(s, state); err != nil {
		n.log.Warn("stale holds are not ended", "volume", a.record.Name, "error", err)
		return false
	}
	n.health.clear(s.id, condStaleHolders)
	n.log.Warn("ended holds of docker's that no container stands behind", "volume", a.record.Name, "holders", strings.Join(stale, " "))
	return true
}
