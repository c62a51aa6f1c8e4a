package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// Claim makes this node the one writer of a volume, as [DecideClaim] says. While
// another node holds it whose session may not be over the error is a [*HeldError].
// Whose session is over is what this node sees of it; the transaction demands that none
// of them has been renewed since (C8).
func (r *Records) Claim(ctx context.Context, id ballast.VolumeID, req ClaimRequest) (Record, error) {
	return r.changeIf(ctx, "claim", id, func(old Record) (Record, []item, error) {
		now := time.Now()
		var rests []item
		req.Over, rests = r.overOf(old, now)
		next, err := DecideClaim(old, r.cfg.Node, req)
		if held, ok := errors.AsType[*HeldError](err); ok {
			seen, _ := r.sessions.judge(held.Node, now)
			held.Wait = seen.Left()
		}
		return next, rests, err
	})
}

// overOf returns the nodes of a record whose session is over, and the keys that this
// rests on, as they were seen.
func (r *Records) overOf(rec Record, now time.Time) (over []ballast.NodeID, rests []item) {
	for _, node := range withNodes(rec.InSync, rec.Primary) {
		if node == "" || node == r.cfg.Node {
			continue
		}
		if seen, rev := r.sessions.judge(node, now); seen.Over {
			over = append(over, node)
			rests = append(rests, item{key: sessionKey(node), rev: rev})
		}
	}
	return over, rests
}

// lookAgain reads the sessions that a change rested on, one of which may have been
// renewed: the change is decided again at once, and the watch may come later.
func (r *Records) lookAgain(ctx context.Context, keys keyspace, rests []item) error {
	for _, it := range rests {
		now, err := keys.get(ctx, it.key)
		if err != nil {
			return err
		}
		if name, kind := kindOf(it.key); kind == sessionsPrefix && now.rev != 0 {
			r.sessions.take(ballast.NodeID(name), now.value, now.rev, time.Now())
		}
	}
	return nil
}

// AwaitRelease waits until nobody holds a volume but this node or a node whose session
// is over, so that a claim is worth trying, or until ctx ends: the error is then the
// [*HeldError] that is still so.
func (r *Records) AwaitRelease(ctx context.Context, id ballast.VolumeID) error {
	feed := r.Follow()
	defer feed.Close()
	for {
		rec, err := r.ByID(id)
		if err != nil {
			return err
		}
		held := rec.Primary
		seen, _ := r.sessions.judge(held, time.Now())
		if held == "" || held == r.cfg.Node || seen.Over {
			return nil
		}
		timer := time.NewTimer(max(seen.Left(), awaitPause))
		select {
		case <-feed.Ready():
			feed.Take()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return &HeldError{Volume: rec.Name, Node: held, Wait: seen.Left()}
		}
		timer.Stop()
	}
}

// awaitPause is how often at most a holder is looked at without news of it.
const awaitPause = 20 * time.Millisecond

// Release ends what Claim began. It is no error when it has ended before.
func (r *Records) Release(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) (Record, error) {
	return r.change(ctx, "release", id, func(old Record) (Record, error) { return DecideRelease(old, r.cfg.Node, epoch) })
}

// ChangeInSync changes the in-sync set for the leader of a volume, which is on this
// node, as [DecideChange] says. An [ballast.ErrUnknown] means that it may have
// happened or not.
func (r *Records) ChangeInSync(ctx context.Context, id ballast.VolumeID, c replica.Change, b replica.Branch) (Record, error) {
	return r.change(ctx, "change copies of", id, func(old Record) (Record, error) {
		if old.Primary != "" && old.Primary != r.cfg.Node {
			return old, fmt.Errorf("volume %q is led by node %s: %w", old.Name, old.Primary, ballast.ErrInUse)
		}
		return DecideChange(old, c, b)
	})
}

// SetCopies changes which nodes hold a copy of a volume, as [DecideCopies] says.
func (r *Records) SetCopies(ctx context.Context, id ballast.VolumeID, c CopiesChange) (Record, error) {
	return r.change(ctx, "place copies of", id, func(old Record) (Record, error) { return DecideCopies(old, c) })
}

// Read returns a volume's record as a quorum has it now, and not as this node knows
// it: what a node may rely on whose session had run out.
func (r *Records) Read(ctx context.Context, id ballast.VolumeID) (Record, error) {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("read volume %s: %w", id, err)
	}
	rec, rev, err := fetch(ctx, keys, id)
	if err != nil {
		return Record{}, fmt.Errorf("read volume %s: %w", id, err)
	}
	r.view.put(rec, rev)
	return rec, nil
}

// CopiesOf returns what a volume's engine is to know of its copies, as of a record;
// session is the node's own that confirms it, 0: there is none. A copy on a node whose
// address is not known is left out: it is not reached.
func (r *Records) CopiesOf(rec Record, session uint64) replica.Members {
	m := replica.Members{
		Revision: rec.Revision, Epoch: rec.Epoch, Primary: rec.Primary,
		InSync: rec.InSync, MinCopies: rec.Spec.CopiesNeeded(), Session: session,
	}
	for _, name := range rec.Copies {
		if n, known := r.Node(name); known && name != r.cfg.Node && n.Address != "" {
			m.Copies = append(m.Copies, replica.Peer{Node: name, Address: n.Address, Added: rec.Added[name]})
		}
	}
	return m
}
