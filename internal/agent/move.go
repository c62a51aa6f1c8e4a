package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/cluster"
)

// moveEvery is how often a move looks how far it is.
const moveEvery = 200 * time.Millisecond

// moveStep is how far a move is.
type moveStep struct {
	doing    string
	progress float64 // of doing, from 0 to 1; 0: not known
	size     int64   // bytes of the volume
	holders  []string
}

// Move makes another node hold a volume. A copy there is made in sync first; then what is not
// Docker's goes over, and writers pause for as long as it returns. What containers hold is
// waited for, for as long as ctx lasts: the volume goes over when they let go.
func (n *node) Move(ctx context.Context, name string, to ballast.NodeID, tell func(moveStep) error) (pause time.Duration, err error) {
	rec, err := n.records.Get(name)
	if err == nil {
		rec, err = n.mustAnswer(ctx, rec.ID)
	}
	if err == nil {
		err = n.mayMoveTo(rec, to)
	}
	if err == nil {
		rec, err = n.awaitInSync(ctx, rec, to, tell)
	}
	if err == nil {
		pause, err = n.handOver(ctx, rec, to, tell)
	}
	if err != nil {
		return 0, fmt.Errorf("move volume %q to node %s: %w", name, to, err)
	}
	n.log.Info("moved volume", "volume", name, "volume_id", rec.ID, "to", to, "pause", pause)
	return pause, nil
}

func (n *node) mayMoveTo(rec cluster.Record, to ballast.NodeID) error {
	known, ok := n.records.Node(to)
	switch {
	case rec.Primary == to || to == n.cfg.Node && !ok:
		return nil
	case !ok:
		return fmt.Errorf("there is no such node; see `ballast node ls`: %w", ballast.ErrNotFound)
	case known.Draining:
		return fmt.Errorf("the node is being drained: %w", ballast.ErrInvalid)
	case to != n.cfg.Node && n.records.Session(to).Over:
		return fmt.Errorf("the node is away: %w", ballast.ErrNotReady)
	}
	return nil
}

// awaitInSync has a copy made on a node, and waits until it counts.
func (n *node) awaitInSync(ctx context.Context, rec cluster.Record, to ballast.NodeID, tell func(moveStep) error) (cluster.Record, error) {
	if len(rec.InSync) == 0 {
		return rec, nil // it was never attached: there is nothing to copy
	}
	if !slices.Contains(rec.Copies, to) {
		var err error
		if rec, err = n.records.SetCopies(ctx, rec.ID, cluster.CopiesChange{Add: to}); err != nil {
			return rec, err
		}
	}
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	var quiet silence
	for !slices.Contains(rec.InSync, to) {
		if why := n.recordsSilent(); why == nil {
			quiet.heard()
		} else if quiet.lasts(recordsPatience) {
			return rec, fmt.Errorf("the copy there cannot be made to count: %w; the volume stays where it is, and the copy goes on catching up when the records answer: %w", why, ballast.ErrNotReady)
		}
		step := moveStep{doing: fmt.Sprintf("copying to %s", to), size: rec.Spec.Size}
		for _, c := range n.look(rec).copies {
			if c.node == to {
				step.progress = c.progress
			}
		}
		if err := tell(step); err != nil {
			return rec, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return rec, fmt.Errorf("the copy there is not in sync yet, and goes on catching up: %w", ctx.Err())
		}
		var err error
		if rec, err = n.records.ByID(rec.ID); err != nil {
			return rec, err
		}
	}
	return rec, nil
}

// handOver lets go of a volume here, if it is attached, and has the other node attach it for
// the same holders.
func (n *node) handOver(ctx context.Context, rec cluster.Record, to ballast.NodeID, tell func(moveStep) error) (time.Duration, error) {
	s := n.slot(rec.ID)
	if rec.Primary != n.cfg.Node || to == n.cfg.Node {
		return 0, nil
	}
	if err := n.awaitDocker(ctx, s, to, tell); err != nil {
		return 0, err
	}
	if _, err := n.mustAnswer(ctx, rec.ID); err != nil {
		return 0, err // nobody could attach it again
	}
	if err := tell(moveStep{doing: "handing over"}); err != nil {
		return 0, err
	}
	began := time.Now()
	holders, err := n.letAllGo(ctx, s)
	if err != nil || len(holders) == 0 {
		return 0, err
	}
	if err := n.attachAt(ctx, rec, to, holders); err != nil {
		return 0, errors.Join(err, n.takeBack(ctx, rec, holders))
	}
	return time.Since(began), nil
}

// awaitDocker waits until no container holds the volume.
func (n *node) awaitDocker(ctx context.Context, s *slot, to ballast.NodeID, tell func(moveStep) error) error {
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	var said []string
	for {
		held := s.remembered().dockers()
		if len(held) == 0 {
			return nil
		}
		if !slices.Equal(held, said) {
			if err := tell(moveStep{doing: fmt.Sprintf("in sync on %s; waiting for containers to let go", to), holders: held}); err != nil {
				return err
			}
			said = held
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("it is in sync there, and held here by %s; stop what uses it, then it can be attached there: %w", strings.Join(held, ", "), ctx.Err())
		}
	}
}

// dockers returns the holders that are mounts of Docker's.
func (a attachmentState) dockers() []string { return a.stale(1<<62, 0) }

// letAllGo unmounts a volume that containers do not hold, and returns who held it.
func (n *node) letAllGo(ctx context.Context, s *slot) (map[string]hold, error) {
	if err := n.acquire(ctx, s, "moving"); err != nil {
		return nil, err
	}
	defer s.release()
	before := s.remembered()
	if held := before.dockers(); len(held) > 0 {
		return nil, fmt.Errorf("it is held by %s: %w", strings.Join(held, ", "), ballast.ErrInUse)
	}
	a := s.current()
	if a == nil {
		return before.Holders, nil
	}
	state := before
	state.Holders = nil
	if err := n.remember(s, state); err != nil {
		return nil, err
	}
	a.goesOver = true
	if err := n.unmountPatiently(ctx, s); err != nil {
		a.goesOver = false
		return nil, errors.Join(err, n.mountBack(ctx, s, a, before))
	}
	return before.Holders, nil
}

// mountBack undoes an unmounting that failed, for those who still hold the volume.
func (n *node) mountBack(ctx context.Context, s *slot, a *attachment, before attachmentState) error {
	if s.current() != a {
		return nil // it is gone, and so are the holds
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoBudget)
	defer cancel()
	n.health.clear(s.id, condStillMounted)
	return errors.Join(n.mountAgain(ctx, s, a), n.remember(s, before))
}

// attachAt attaches a volume on another node for holders.
func (n *node) attachAt(ctx context.Context, rec cluster.Record, to ballast.NodeID, holders map[string]hold) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attachBudget)
	defer cancel()
	for holder, h := range holders {
		for range h.Count {
			if _, err := n.volumesAt(to).Attach(ctx, connect.NewRequest(&v1.AttachRequest{Name: rec.Name, Holder: holder})); err != nil {
				return fmt.Errorf("attach it there: %w", err)
			}
		}
	}
	return nil
}

// takeBack attaches a volume here again that the other node did not attach.
func (n *node) takeBack(ctx context.Context, rec cluster.Record, holders map[string]hold) error {
	ctx = context.WithoutCancel(ctx)
	for holder, h := range holders {
		for range h.Count {
			if _, err := n.Attach(ctx, rec.Name, holder); err != nil {
				return fmt.Errorf("attach it here again: %w", err)
			}
		}
	}
	return nil
}
