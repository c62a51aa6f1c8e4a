package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/replica"
)

// session is this node's session as its engines live by it.
type session struct {
	keeper *lease.Keeper
	began  chan struct{} // has room for one: another session was begun

	mu     sync.Mutex // guards everything below
	number uint64     // 0: none was begun
	until  time.Duration
}

func newSession(keeper *lease.Keeper) *session {
	return &session{keeper: keeper, began: make(chan struct{}, 1)}
}

// current returns the number of the node's session, 0 when there is none.
func (s *session) current() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number
}

// standing is current as long as the session stands, and else 0: what is claimed under one that has
// run out, the next one does not confirm.
func (s *session) standing() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lease.Now() >= s.until {
		return 0
	}
	return s.number
}

// renewed notes until when a session is good, and lets the engines see it. The fence time is
// two leases from the last renewal, of which the lease itself is nine tenths of one.
func (s *session) renewed(number uint64, until, lease time.Duration) {
	s.keeper.Renew(number, until, lease+lease/10)
	s.mu.Lock()
	another := s.number != number
	s.number, s.until = number, until
	s.mu.Unlock()
	if !another {
		return
	}
	select {
	case s.began <- struct{}{}:
	default: // it is looked at soon
	}
}

// sessionRetry is how soon a node asks again whether its volumes are still its own.
const sessionRetry = 200 * time.Millisecond

// keepSession keeps the node's session for as long as there are other nodes, until ctx ends.
func (n *node) keepSession(ctx context.Context) error {
	feed := n.records.Follow()
	defer feed.Close()
	for {
		if len(n.records.Nodes()) > 1 {
			if err := n.keepSessionAmong(ctx, feed); err != nil {
				return err
			}
		}
		select {
		case <-feed.Ready():
			feed.Take()
		case <-ctx.Done():
			return nil
		}
	}
}

// keepSessionAmong keeps the session until this node is alone, or ctx ends.
func (n *node) keepSessionAmong(ctx context.Context, feed *cluster.Feed) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	last, until, _ := n.session.keeper.Read()
	go func() { // ends with ctx, and is waited for
		done <- n.records.KeepSession(ctx, cluster.SessionConfig{
			Lease: n.lease(), Boot: lease.Now, Disk: n.diskOfVolumes, Archive: n.archiveID, Last: last, Until: until,
			OnRenewed: func(number uint64, until time.Duration) { n.session.renewed(number, until, n.lease()) },
		})
	}()
	for {
		select {
		case <-feed.Ready():
			feed.Take()
			if len(n.records.Nodes()) > 1 {
				continue
			}
			cancel()
			return <-done
		case err := <-done:
			return err
		}
	}
}

// lease is how long a node may be silent before others take over what it has.
func (n *node) lease() time.Duration { return n.cfg.Lease }

// diskOfVolumes returns the size of the disk that volumes are on, and what is free of it.
func (n *node) diskOfVolumes() (size, free int64) {
	s, f, err := diskSpace(n.cfg.DataDir)
	if err != nil {
		return 0, 0
	}
	return int64(s), int64(f) //nolint:gosec // no disk has 8 EiB
}

// followSessions confirms what is attached whenever another session began (A17).
func (n *node) followSessions(ctx context.Context) {
	for {
		select {
		case <-n.session.began:
			for _, s := range n.allSlots() {
				n.do(func(ctx context.Context) { n.confirmPatiently(ctx, s) })
			}
		case <-ctx.Done():
			return
		}
	}
}

// confirmPatiently confirms an attachment, again and again until it is confirmed or over.
// Others may have claimed the volume while no session of this node stood.
func (n *node) confirmPatiently(ctx context.Context, s *slot) {
	for ctx.Err() == nil {
		a := s.toConfirm()
		if a == nil || a.confirmed() == n.session.current() {
			return
		}
		err := n.confirm(ctx, s, a)
		if err == nil {
			continue
		}
		n.quiet.Warn("confirm "+string(s.id), "whether a volume is still this node's is not known; its writers wait", "volume", a.record.Name, "error", err)
		select {
		case <-time.After(sessionRetry):
		case <-ctx.Done():
		}
	}
}

// confirm asks a quorum whether an attachment is still this node's, and tells the engine
// which session that is under; or ends it.
func (n *node) confirm(ctx context.Context, s *slot, a *attachment) error {
	ctx, cancel := context.WithTimeout(ctx, recordBudget)
	defer cancel()
	number := n.session.current() // before the record is read: that makes it a confirmation
	rec, err := n.records.Read(ctx, s.id)
	if err != nil {
		return err
	}
	if !n.isMine(rec, a) {
		n.evict(ctx, s, a, heldBy(rec))
		return nil
	}
	a.confirm(number)
	err = n.tellMembers(ctx, a, rec)
	if errors.Is(err, errEngineGone) {
		return nil // it is buried soon
	}
	return err
}

// isMine reports whether a record still names an attachment as the volume's writer.
func (n *node) isMine(rec cluster.Record, a *attachment) bool {
	return rec.Primary == n.cfg.Node && rec.Epoch == a.record.Epoch
}

// membersOf is what an engine is told of a record.
func (n *node) membersOf(rec cluster.Record, confirmed uint64) replica.Members {
	m := replica.Members{
		Revision: rec.Revision, Epoch: rec.Epoch, Primary: rec.Primary, InSync: rec.InSync,
		MinCopies: rec.Spec.CopiesNeeded(), Session: confirmed,
	}
	for _, name := range rec.Copies {
		if name == n.cfg.Node {
			continue
		}
		known, _ := n.records.Node(name)
		m.Copies = append(m.Copies, replica.Peer{Node: name, Address: known.Address, Added: rec.Added[name]})
	}
	return m
}
