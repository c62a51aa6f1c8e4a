package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/volume"
)

var _ volume.Shipper = (*Hub)(nil)

const (
	inlineLimit = 32 << 10         // bytes that a flushing goroutine writes itself, what is unacknowledged included
	eagerFrame  = 64 << 10         // a batch from here on is sent without waiting for a flush
	changeLimit = 10 * time.Second // for a change of the record
	busyFor     = 10 * time.Second // after a flush, ticks come as often as decisions want them
)

// Hub carries a volume's log to its other copies. It is made before the volume is
// opened, which needs it, and runs once it is open.
type Hub struct {
	cfg   Config
	began time.Time     // for monotonic times
	poked chan struct{} // Run has something to look at
	asks  chan replica.Change

	log     Log            // constant once Run has begun, as are
	epoch   ballast.Epoch  // this
	lineage volume.Lineage // and this
	opened  atomic.Pointer[Log]

	mu        sync.Mutex // guards everything below
	leader    *replica.Leader
	members   replica.Members
	complete  bool
	ring      ring
	peers     map[ballast.NodeID]*peer
	attempts  uint64 // connections that were tried
	size      int64  // of the volume: enough for all that is in the ring
	last      ballast.LSN
	durable   ballast.LSN
	wanted    ballast.LSN // by the latest flush
	committed ballast.LSN
	waiters   []waiter
	err       error // why nothing is committed any more (S4)
	stall     string
	flushed   time.Duration // when the latest flush was
	traffic   traffic
}

// waiter is a call of Committed.
type waiter struct {
	lsn  ballast.LSN
	done chan struct{}
}

// traffic is what was shipped, to estimate lags from.
type traffic struct{ records, bytes int64 }

// New returns a Hub.
func New(cfg Config) *Hub {
	cfg = cfg.withDefaults()
	return &Hub{
		cfg: cfg, began: time.Now(), members: cfg.Members, complete: !cfg.Hollow,
		poked: make(chan struct{}, 1), asks: make(chan replica.Change, 1), peers: map[ballast.NodeID]*peer{},
	}
}

// now is monotonic.
func (h *Hub) now() time.Duration { return time.Since(h.began) }

// Run serves the peers until ctx ends, or until this writer is fenced off; then the
// error is [ErrFenced]. It is called once. No flush is acknowledged before it runs.
func (h *Hub) Run(ctx context.Context, log Log) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	h.begin(log)
	defer func() { h.end(fmt.Errorf("volume %s: %w", log.ID(), ErrEnded)) }()
	running.Go(func() { h.carryOut(ctx) })
	tick := time.NewTimer(0)
	defer tick.Stop()
	stall := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.poked:
		case <-tick.C:
			h.event(replica.Tick{})
		}
		wait, err := h.tend(ctx, &running)
		if now := h.stalled(); now != stall {
			stall = now
			h.cfg.OnStall(stall)
		}
		if err != nil {
			return err
		}
		tick.Reset(wait)
	}
}

// begin makes the decisions, and tells them what happened before.
func (h *Hub) begin(log Log) {
	h.log, h.epoch, h.lineage = log, log.Epoch(), log.Lineage()
	h.opened.Store(&log)
	last, durable, applied := log.Position()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leader = replica.NewLeader(replica.LeaderConfig{
		Node: h.cfg.Node, Epoch: h.epoch, Patience: h.cfg.Patience, Hollow: !h.complete,
	}, h.members, replica.Position{Lineage: h.lineage, Last: durable})
	h.last, h.durable = max(h.last, last), max(h.durable, durable)
	h.committed = max(h.committed, applied) // nothing else is ever folded (R5)
	h.step(replica.Appended{Last: h.last})
	h.step(replica.Durable{LSN: h.durable})
	if h.wanted > 0 {
		h.step(replica.Flushed{LSN: h.wanted})
	}
}

// tend starts and ends peers as the record says, and says when to tick next.
func (h *Hub) tend(ctx context.Context, running *sync.WaitGroup) (again time.Duration, err error) {
	h.mu.Lock()
	again, err = h.pace(), h.err
	begun, over := h.reconcile()
	h.mu.Unlock()
	for _, p := range over {
		p.leave()
	}
	for _, p := range begun {
		h.log.Keep(p.reader(), 0) // where it stands is not known yet
		pctx, leave := context.WithCancel(ctx)
		p.leave = leave
		running.Go(func() { p.run(pctx) })
	}
	return again, err
}

func (h *Hub) stalled() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stall
}

// pace is how long until the next tick: an idle volume with nothing to decide ticks rarely.
func (h *Hub) pace() time.Duration {
	often := h.cfg.Patience / 10
	if len(h.waiters) > 0 || h.now()-h.flushed < busyFor {
		return often
	}
	for _, p := range h.peers {
		if p.state != Streaming || !slices.Contains(h.members.InSync, p.node) {
			return often
		}
	}
	return h.cfg.Patience
}

// reconcile brings the peers in line with the record.
func (h *Hub) reconcile() (begun, over []*peer) {
	want := map[ballast.NodeID]bool{}
	for _, c := range h.members.Copies {
		if c.Node == h.cfg.Node {
			continue
		}
		want[c.Node] = true
		p := h.peers[c.Node]
		if p != nil && p.at.Added != c.Added {
			over = append(over, p) // what it is connected to is an earlier copy
			p = nil
		}
		if p == nil {
			p = newPeer(h, c)
			h.peers[c.Node] = p
			begun = append(begun, p)
		}
		p.at = c
	}
	for node, p := range h.peers {
		if !want[node] {
			delete(h.peers, node)
			over = append(over, p)
		}
	}
	return begun, over
}

// end answers everybody who waits, or will.
func (h *Hub) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail(err)
}

// fail keeps S4. The caller holds mu.
func (h *Hub) fail(err error) {
	if h.err != nil {
		return
	}
	h.err = err
	for _, w := range h.waiters {
		close(w.done)
	}
	h.waiters = nil
	h.poke()
}

func (h *Hub) poke() {
	select {
	case h.poked <- struct{}{}:
	default:
	}
}

// carryOut asks for the changes that were decided, one at a time.
func (h *Hub) carryOut(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-h.asks:
			m, err := h.change(ctx, c)
			if err != nil {
				h.cfg.Log.Warn("in-sync set not changed", "volume", h.log.ID(), "add", c.Add, "remove", c.Remove, "error", err)
				h.event(replica.ChangeFailed{Change: c, Unknown: isUnknown(err)})
				continue
			}
			h.cfg.Log.Info("in-sync set changed", "volume", h.log.ID(), "add", c.Add, "remove", c.Remove, "reason", c.Reason, "in_sync", m.InSync)
			h.SetMembers(m)
		}
	}
}

func (h *Hub) change(ctx context.Context, c replica.Change) (replica.Members, error) {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	return h.cfg.Control.Change(ctx, c)
}

// isUnknown reports whether a change may have been made in spite of its error.
func isUnknown(err error) bool {
	return !errors.Is(err, ballast.ErrInvalid) && !errors.Is(err, ballast.ErrNotFound) && !errors.Is(err, ballast.ErrInUse)
}

// event tells the decisions what happened.
func (h *Hub) event(e replica.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.step(e)
}

// step tells the decisions what happened, and does what follows. The caller holds mu.
func (h *Hub) step(e replica.Event) {
	if h.leader == nil {
		return // begin tells it all
	}
	for _, effect := range h.leader.Step(h.now(), e) {
		switch effect := effect.(type) {
		case replica.Commit:
			h.commit(effect.LSN)
		case replica.Ask:
			h.asks <- effect.Change // has room: one is asked for at a time
		case replica.Fenced:
			h.fail(fmt.Errorf("volume %s under %v: %w: %s", h.log.ID(), h.epoch, ErrFenced, effect.Reason))
		case replica.Stalled:
			h.stall = effect.Reason
			h.poke()
		case replica.Resumed:
			h.stall = ""
			h.poke()
		}
	}
}

// commit wakes who waits for it (R1).
func (h *Hub) commit(lsn ballast.LSN) {
	h.committed = max(h.committed, lsn)
	h.waiters = slices.DeleteFunc(h.waiters, func(w waiter) bool {
		if w.lsn <= lsn {
			close(w.done)
			return true
		}
		return false
	})
}

// SetMembers tells the Hub what the volume's record says of the copies. One that is
// older than what is known is passed over.
func (h *Hub) SetMembers(m replica.Members) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.Revision >= h.members.Revision {
		h.members = m
	}
	h.step(replica.MembersRead{Members: m})
	h.poke()
}

// Complete tells the Hub that this copy lacks no chunk any more.
func (h *Hub) Complete() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.complete = true
	h.step(replica.Complete{})
}

// Ship implements [volume.Shipper].
func (h *Hub) Ship(b volume.Batch) {
	per, behind := h.ship(b)
	for _, after := range behind {
		per = max(per, dragUnder(h.log.Pressure(after)))
	}
	if rest := time.Duration(int64(per) * int64(len(b.Data)) >> 20); rest > 0 {
		time.Sleep(min(rest, mostRest)) // as if the disk were slower
	}
}

// ship hands a batch to who streams it. It returns how long writers are to rest for each MiB, and up
// to where those copies have the log that catch up.
func (h *Hub) ship(b volume.Batch) (per time.Duration, behind []ballast.LSN) {
	size := h.sizeNow()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.size = max(h.size, size)
	h.last = max(h.last, b.Last())
	h.traffic.records += int64(len(b.Records))
	h.traffic.bytes += int64(len(b.Data))
	h.step(replica.Appended{Last: b.Last()})
	per, behind = h.drag()
	if !h.anyStreaming() {
		h.ring.release()
		return per, behind
	}
	s := h.ring.push(b)
	if s.n < eagerFrame {
		return per, behind // a flush is about to follow, and takes it along; else the next tick does
	}
	for _, p := range h.peers {
		p.kick()
	}
	return per, behind
}

// sizeNow asks the volume for its size, if it is open. The caller must not hold mu.
func (h *Hub) sizeNow() int64 {
	if log := h.opened.Load(); log != nil {
		return (*log).Size()
	}
	return 0
}

func (h *Hub) anyStreaming() bool {
	for _, p := range h.peers {
		if p.streaming {
			return true
		}
	}
	return false
}

// Flush implements [volume.Shipper].
func (h *Hub) Flush(lsn ballast.LSN) {
	var direct []*peer
	h.mu.Lock()
	h.wanted = max(h.wanted, lsn)
	h.step(replica.Flushed{LSN: lsn})
	now := h.now()
	if now-h.flushed >= busyFor {
		h.poke() // ticks were rare
	}
	h.flushed = now
	for _, p := range h.peers {
		if p.tryDirect() {
			direct = append(direct, p)
		}
	}
	h.mu.Unlock()
	for _, p := range direct {
		_ = p.writeOut(h.cfg.Patience) // whoever reads from it notices
		p.sending.Unlock()
	}
}

// Committed implements [volume.Shipper].
func (h *Hub) Committed(lsn ballast.LSN) error {
	h.mu.Lock()
	if h.err != nil || h.committed >= lsn {
		defer h.mu.Unlock()
		return h.verdict(lsn)
	}
	w := waiter{lsn, make(chan struct{})}
	h.waiters = append(h.waiters, w)
	h.mu.Unlock()
	<-w.done
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.verdict(lsn)
}

func (h *Hub) verdict(lsn ballast.LSN) error {
	if h.committed >= lsn || seeded(answerOnEnd) {
		return nil
	}
	return h.err
}

// Durable implements [volume.Shipper].
func (h *Hub) Durable(lsn ballast.LSN) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.durable = max(h.durable, lsn)
	h.step(replica.Durable{LSN: lsn})
	for _, p := range h.peers {
		if p.streaming && !p.live {
			p.kick() // it reads from the log, which has more now
		}
	}
}

// Status says where every peer stands, sorted by node.
func (h *Hub) Status() []PeerStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []PeerStatus
	for _, p := range h.peers {
		all = append(all, p.status())
	}
	slices.SortFunc(all, func(a, b PeerStatus) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

// lag estimates how many bytes n records are.
func (h *Hub) lag(durable ballast.LSN) int64 {
	n := float64(h.last - min(durable, h.last))
	if h.traffic.records == 0 {
		return int64(n * ballast.BlockSize)
	}
	return int64(n * float64(h.traffic.bytes) / float64(h.traffic.records))
}
