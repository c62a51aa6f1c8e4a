package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/replica"
)

// errFenced says that another node is, or may be, the volume's writer. It reaches
// readers and writers as EIO.
var errFenced = errors.New("this engine is fenced off and serves nothing more")

const (
	// gatePoll is how often a request that waits looks at the lease.
	gatePoll = 10 * time.Millisecond

	// graceUnknown is how long a request waits when no lease says it.
	graceUnknown = 5 * time.Second
)

// leaseView is a look at the node's lease; see [lease.View.Read].
type leaseView interface {
	Read() (session uint64, until, grace time.Duration)
}

// gate stands between the device and the volume, and lets an answer out only while nobody
// else can be the volume's writer (N8). It looks after the work, not before: a process
// can be stopped anywhere between two instructions, and a lease that is good now
// was good all the time of its session. What is done and not answered harms nobody: a
// flush needs the followers, who refuse an epoch that is over, and a read is thrown away.
type gate struct {
	store device.Store
	node  ballast.NodeID
	epoch ballast.Epoch
	lease leaseView // nil: there is none
	now   func() time.Duration
	log   *slog.Logger

	asks    atomic.Bool            // somebody else could claim the volume, so the lease counts
	session atomic.Uint64          // that confirmed that the epoch is this node's
	fenced  atomic.Pointer[string] // why nothing is served any more; never nil again
	shut    chan struct{}          // closed once it is fenced

	mu      sync.Mutex // guards everything below
	members replica.Members
	adding  int64         // revision at which a copy was last asked to be added; -1: it is settled
	odd     time.Duration // since when the lease is of another session; 0: it is not
	told    chan struct{} // closed, and made anew, when something changed
}

func newGate(store device.Store, node ballast.NodeID, epoch ballast.Epoch, view leaseView, log *slog.Logger) *gate {
	return &gate{store: store, node: node, epoch: epoch, lease: view, now: lease.Now, log: log, shut: make(chan struct{}), adding: -1, told: make(chan struct{})}
}

// ReadAt implements [device.Store].
func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	if err := g.refuse(); err != nil {
		return 0, err
	}
	n, err := g.store.ReadAt(p, off)
	return n, g.pass(err)
}

// WriteAt implements [device.Store].
func (g *gate) WriteAt(p []byte, off int64) (int, error) {
	if err := g.refuse(); err != nil {
		return 0, err
	}
	n, err := g.store.WriteAt(p, off)
	return n, g.pass(err)
}

// Discard implements [device.Store].
func (g *gate) Discard(off, n int64) error {
	if err := g.refuse(); err != nil {
		return err
	}
	return g.pass(g.store.Discard(off, n))
}

// Flush implements [device.Store].
func (g *gate) Flush() error {
	if err := g.refuse(); err != nil {
		return err
	}
	return g.pass(g.store.Flush())
}

// Written implements [device.Eager].
func (g *gate) Written() {
	if s, ok := g.store.(device.Eager); ok && g.refuse() == nil {
		s.Written()
	}
}

// Size implements [device.Store].
func (g *gate) Size() int64 { return g.store.Size() }

// refuse spares the work that cannot be answered.
func (g *gate) refuse() error {
	if why := g.fenced.Load(); why != nil {
		return fmt.Errorf("%w: %s", errFenced, *why)
	}
	return nil
}

// pass returns err once it may be told.
func (g *gate) pass(err error) error {
	for !seeded(lookBefore) {
		told := g.news()
		if why := g.refuse(); why != nil {
			return why
		}
		if g.look() == gateOpen {
			return err
		}
		select {
		case <-told:
		case <-time.After(gatePoll):
		}
	}
	return err
}

// gateState is what the lease says at one moment.
type gateState int

const (
	gateOpen   gateState = iota
	gateShut             // past: nobody is told anything
	gateFenced           // for ever
)

// look decides from the lease as it is at this moment. A gate that is fenced stays so.
func (g *gate) look() gateState {
	if g.fenced.Load() != nil {
		return gateFenced
	}
	if !g.asks.Load() {
		return gateOpen
	}
	mine := g.session.Load()
	var of uint64
	var until, grace time.Duration
	if g.lease != nil {
		of, until, grace = g.lease.Read()
	}
	now := g.now()
	if (of == mine || seeded(openAnySession)) && of != 0 && (now < until || seeded(openPastLease)) {
		return gateOpen
	}
	return g.past(of == mine && of != 0, until, grace, now)
}

// past decides how a lease is past: for so long that the node gives up, or not yet. One of
// another session says nothing of ours; the agent that began it is about to confirm the
// epoch, or not.
func (g *gate) past(mine bool, until, grace, now time.Duration) gateState {
	g.mu.Lock()
	if grace == 0 {
		grace = graceUnknown
	}
	switch {
	case mine:
		g.odd = 0
	case g.odd == 0:
		g.odd, until = now, now
	default:
		until = g.odd
	}
	g.mu.Unlock()
	if now < until+grace {
		return gateShut
	}
	g.fence(fmt.Sprintf("the node could not renew its lease for %v after it was over, so another one may have the volume", grace))
	return gateFenced
}

// fence shuts the gate for ever. The first reason stays.
func (g *gate) fence(reason string) {
	if !g.fenced.CompareAndSwap(nil, &reason) {
		return
	}
	g.log.Error("engine is fenced off: what was acknowledged is safe on the copies that are in sync", "epoch", uint64(g.epoch), "reason", reason)
	close(g.shut)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tellLocked()
}

// why returns the reason for which the gate is shut for ever, or "".
func (g *gate) why() string {
	if why := g.fenced.Load(); why != nil {
		return *why
	}
	return ""
}

// news returns what is closed at the next change.
func (g *gate) news() <-chan struct{} {
	if !g.asks.Load() && g.fenced.Load() == nil {
		return nil // the common case: nothing is waited for
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.told
}

func (g *gate) tellLocked() {
	close(g.told)
	g.told = make(chan struct{})
}

// setMembers takes in what the agent read in the volume's record, and reports whether it
// says something new. A record of a later epoch, or of another primary, fences the engine
// off. The error is [ballast.ErrInvalid].
func (g *gate) setMembers(m replica.Members) (changed bool, err error) {
	if m.Epoch < g.epoch {
		return false, fmt.Errorf("the record is of epoch %d; this engine has %d: %w", m.Epoch, g.epoch, ballast.ErrInvalid)
	}
	if m.Epoch > g.epoch || m.Primary != g.node {
		g.fence(fmt.Sprintf("the volume's record names node %q as its holder, under epoch %d", m.Primary, m.Epoch))
		return false, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.Session > g.session.Load() {
		// The agent has read the record after it began the session.
		g.session.Store(m.Session)
		g.odd = 0
	}
	m.Session = g.session.Load()
	if m.Revision > g.adding {
		g.adding = -1 // whatever was asked at an earlier revision, it cannot happen any more
	}
	if changed = m.Revision >= g.members.Revision; changed {
		g.members = m
	}
	g.settleLocked()
	g.tellLocked()
	return changed, nil
}

// expect says that a copy is asked to be added: from now on until the record was read
// again, it may be one that can claim the volume.
func (g *gate) expect() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.adding = g.members.Revision
	g.settleLocked()
}

// settleLocked decides whether anybody else could claim the volume.
func (g *gate) settleLocked() {
	other := slices.ContainsFunc(g.members.InSync, func(n ballast.NodeID) bool { return n != g.node })
	g.asks.Store(other || g.adding >= 0)
}
