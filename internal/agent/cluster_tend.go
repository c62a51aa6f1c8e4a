package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/placement"
)

// A detached volume has no writer that brings its copies in sync. Where one lacks something,
// a node that is in sync tends it: it claims the volume and runs its engine without a mount,
// until nothing is lacking. Whoever wants to attach it goes first.

const (
	// tendHolder is who is asked to let go of a volume that is tended. Nobody holds it
	// under that name.
	tendHolder  = "ballast:tending"
	maxTended   = 4 // at once, on one node
	tendBudget  = 30 * time.Second
	yieldBudget = 10 * time.Second
)

// tendCopies begins and ends tending, as placement says.
func (n *node) tendCopies(view placement.View) {
	tended := n.endTending(view)
	for id, node := range placement.Tenders(view) {
		if node != n.cfg.Node || tended >= maxTended || !n.isSettled(view, id) {
			continue
		}
		tended++
		s := n.slot(id)
		n.do(func(ctx context.Context) { n.tend(ctx, s) })
	}
}

// isSettled reports whether a volume has been as it is for a while: one that was just let
// go of is often attached elsewhere next.
func (n *node) isSettled(view placement.View, id ballast.VolumeID) bool {
	return slices.ContainsFunc(view.Volumes, func(v placement.Volume) bool { return v.ID == id && v.Steady >= n.cfg.Lease })
}

// endTending lets go of volumes whose copies lack nothing any more that can be had now. It returns
// how many are tended still.
func (n *node) endTending(view placement.View) (tended int) {
	for _, v := range view.Volumes {
		s := n.peek(v.ID)
		if s == nil || !s.isTended() {
			continue
		}
		v.Primary = ""
		lacking := placement.Tenders(placement.View{Nodes: view.Nodes, Volumes: []placement.Volume{v}, ReplaceAfter: view.ReplaceAfter})
		if len(lacking) > 0 && (!s.isWanted() || s.isFilling()) {
			tended++
			continue
		}
		n.do(func(ctx context.Context) {
			if err := n.yield(ctx, s); err != nil {
				n.quiet.Warn("yield "+string(s.id), "a volume whose copies are in sync is not let go of", "volume", v.Name, "error", err)
			}
		})
	}
	return tended
}

// tend runs a volume's engine without a mount.
func (n *node) tend(ctx context.Context, s *slot) {
	ctx, cancel := context.WithTimeout(ctx, tendBudget)
	defer cancel()
	if !n.tryAcquire(s, "bringing its copies in sync") {
		return // somebody does something with it: they go first
	}
	defer s.release()
	rec, err := n.records.ByID(s.id)
	if err != nil || s.current() != nil || !n.isLeft(rec.Primary) || rec.InTrash() || !slices.Contains(rec.InSync, n.cfg.Node) || !n.hasFiles(s) {
		return
	}
	a, err := n.raise(ctx, s)
	if err != nil {
		n.quiet.Warn("tend "+string(s.id), "the copies of a detached volume are not brought in sync; trying again", "volume", rec.Name, "error", err)
		return
	}
	// As after an unmounting that did not end: who attaches it has it mounted.
	a.partial = true
	a.tending.Store(true)
	s.setAttached(a)
	n.startShipping(s, a)
	n.lookAfterSoon(s)
	n.log.Info("a detached volume's copies are brought in sync", "volume", rec.Name, "volume_id", s.id, "epoch", uint64(a.record.Epoch))
}

// isLeft reports whether nobody holds a volume of that primary: none, or one that stays away.
func (n *node) isLeft(primary ballast.NodeID) bool {
	if primary == "" {
		return true
	}
	_, known := n.records.Node(primary)
	return !known || n.awayFor(primary) >= n.cfg.ReplaceAfter
}

// isTended reports whether the volume's engine runs for its copies alone.
func (s *slot) isTended() bool {
	a := s.current()
	return a != nil && a.tending.Load()
}

// isFilling reports whether the volume gets what it lacks from the archive. Nobody can have it from
// another node before, and who interrupted that would have it later.
func (s *slot) isFilling() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached != nil && (s.status.TotalChunks == 0 || s.status.MissingChunks > 0)
}

// isWanted reports whether another node waits for the volume.
func (s *slot) isWanted() bool {
	a := s.current()
	return a != nil && a.wanted.Load()
}

// yield ends tending, when nobody has attached the volume meanwhile.
func (n *node) yield(ctx context.Context, s *slot) error {
	if !s.isTended() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, unmountBudget)
	defer cancel()
	if err := n.acquire(ctx, s, "detaching"); err != nil {
		return err
	}
	defer s.release()
	if !s.isTended() || len(s.remembered().Holders) > 0 {
		return nil
	}
	return n.unmountPatiently(ctx, s)
}

// yieldByName is yield for another node that wants the volume.
func (n *node) yieldByName(ctx context.Context, name string) error {
	rec, err := n.records.Get(name)
	if err != nil {
		return err
	}
	s := n.peek(rec.ID)
	if s == nil {
		return nil
	}
	if a := s.current(); a != nil && s.isTended() && s.isFilling() && !rec.InTrash() {
		a.wanted.Store(true)
		return nil // as soon as it has everything
	}
	done := make(chan error, 1)
	if !n.do(func(ctx context.Context) { done <- n.yield(ctx, s) }) {
		return errEnding
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askToYield asks the node that has a volume to let go of it, if it only tends it.
func (n *node) askToYield(ctx context.Context, rec cluster.Record) {
	if rec.Primary == "" || rec.Primary == n.cfg.Node || n.network() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, yieldBudget)
	defer cancel()
	_, err := n.volumesAt(rec.Primary).Detach(ctx, connect.NewRequest(&v1.DetachRequest{Name: rec.Name, Holder: tendHolder}))
	if err != nil && !errors.Is(err, context.Canceled) {
		n.log.Debug("the node that has a volume was not asked to let go of it", "volume", rec.Name, "node", rec.Primary, "error", err)
	}
}
