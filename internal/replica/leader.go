package replica

import (
	"slices"
	"time"

	"github.com/ballast-io/ballast"
)

// LeaderConfig is what does not change while a leader leads.
type LeaderConfig struct {
	Node     ballast.NodeID // this one
	Epoch    ballast.Epoch  // that it claimed, and leads under
	Patience time.Duration  // how long one copy may keep writers waiting; 3 s unless told
	Hollow   bool           // this copy lacks chunks: it counts after Complete
}

// defaultPatience is long for a network and a disk, and short for an application.
const defaultPatience = 3 * time.Second

// Leader decides for the one writer of a volume what is committed, and who is in sync.
// It is for one goroutine at a time, does nothing but think, and knows the time only
// from its caller.
type Leader struct {
	cfg     LeaderConfig
	members Members
	peers   []peer // the other nodes that the record names, in its order

	opened    ballast.LSN // what was in the log when it was opened: it may have been acknowledged
	last      ballast.LSN
	durable   ballast.LSN // here
	committed ballast.LSN
	wanted    ballast.LSN // what somebody waits for
	complete  bool

	change   change
	waiting  stopwatch   // writers wait, and nothing moves
	near     ballast.LSN // what was committed some ticks ago: who has it has nearly all
	nearNext ballast.LSN
	nearAt   time.Duration
	stalled  string
	stranded stopwatch
	effects  []Effect

	fenced     bool
	fencedBy   Fenced
	saidFenced bool
}

// change is what the leader asked for.
type change struct {
	asked   Change // zero: nothing
	pending bool   // no answer yet
	doubt   bool   // an answer was lost: it may have been made, and may yet be
	retryAt time.Duration
}

// stopwatch is for how long something has been so.
type stopwatch struct {
	running bool
	since   time.Duration
}

// set says whether it is so now.
func (w *stopwatch) set(so bool, now time.Duration) {
	if so && !w.running {
		w.since = now
	}
	w.running = so
}

func (w *stopwatch) over(limit, now time.Duration) bool { return w.running && now-w.since >= limit }

// NewLeader returns the leader of a volume that was opened under cfg.Epoch, and whose log
// ends at at.Last, durably.
func NewLeader(cfg LeaderConfig, m Members, at Position) *Leader {
	if cfg.Patience <= 0 {
		cfg.Patience = defaultPatience
	}
	l := &Leader{cfg: cfg, opened: at.Last, last: at.Last, durable: at.Last, complete: !cfg.Hollow}
	if l.near, l.nearNext = at.Last, at.Last; seeded(addBehindOpening) {
		l.near, l.nearNext = 0, 0
	}
	l.members = Members{Revision: -1}
	l.adopt(m)
	return l
}

// Step takes in one event and returns what follows from it, in order. now is monotonic,
// from any beginning, and never goes back. The effects are good until the next Step.
func (l *Leader) Step(now time.Duration, e Event) []Effect {
	l.effects = l.effects[:0]
	if !l.fenced {
		l.take(now, e)
	}
	if l.fenced {
		return l.sayFenced()
	}
	l.commit()
	l.watch(now)
	l.join(now)
	l.ask(now)
	return l.effects
}

// take notes what an event says.
func (l *Leader) take(now time.Duration, e Event) {
	switch e := e.(type) {
	case Appended:
		l.last = max(l.last, e.Last)
	case Durable:
		l.durable = max(l.durable, e.LSN)
		l.last = max(l.last, e.LSN)
	case Flushed:
		l.wanted = max(l.wanted, e.LSN)
	case Connected:
		if p := l.peer(e.Node); p != nil && e.Stream >= p.stream && (e.Added == p.added || seeded(countEarlierCopy)) {
			p.connect(e)
		}
	case Disconnected:
		l.disconnected(e)
	case Acked:
		if p := l.peer(e.Node); p != nil && p.connected && e.Stream == p.stream {
			p.acked(e, now)
		}
	case MembersRead:
		l.adopt(e.Members)
	case ChangeFailed:
		l.failed(now, e)
	case Complete:
		l.complete = true
	case Tick:
		l.tick(now)
	}
}

// tick moves what "nearly all" means: what was committed a quarter of the patience ago, or a
// half. A copy whose disk takes as long for a sync never has what is newer, while users write.
func (l *Leader) tick(now time.Duration) {
	if now-l.nearAt < l.cfg.Patience/4 {
		return
	}
	l.near, l.nearNext, l.nearAt = l.nearNext, max(l.committed, l.opened), now
}

func (l *Leader) disconnected(e Disconnected) {
	p := l.peer(e.Node)
	if p == nil || e.Stream < p.stream {
		return
	}
	p.stream, p.connected, p.reason = e.Stream, false, e.Reason
	if e.Reason == StaleEpoch && e.Epoch > l.cfg.Epoch {
		l.fence(e.Epoch, "the copy on "+string(e.Node)+" follows a later writer")
	}
}

// adopt takes over what the record says, when it is not older than what is known.
func (l *Leader) adopt(m Members) {
	if m.Revision < l.members.Revision {
		return
	}
	if m.Epoch != l.cfg.Epoch || m.Primary != l.cfg.Node {
		l.fence(m.Epoch, "another attach of the volume came after this one")
		return
	}
	if m.Revision > l.change.asked.Revision || seeded(readingEndsDoubt) {
		// Whatever was asked over an earlier revision was done by now, and is in m, or
		// never will be. To have read the record is not enough to know that (R2).
		l.change = change{retryAt: l.change.retryAt}
	}
	l.members = m
	l.setPeers()
}

// setPeers brings the list of peers in line with the record.
func (l *Leader) setPeers() {
	var peers []peer
	for _, c := range l.members.Copies {
		if c.Node != l.cfg.Node {
			peers = append(peers, l.known(c.Node, c.Added))
		}
	}
	for _, node := range l.members.InSync {
		if node != l.cfg.Node && !slices.ContainsFunc(peers, func(p peer) bool { return p.node == node }) {
			peers = append(peers, l.known(node, 0))
		}
	}
	l.peers = peers
	for i := range l.peers {
		p := &l.peers[i]
		p.inSync = slices.Contains(l.members.InSync, p.node)
		p.joining = p.joining && !p.inSync
	}
}

// known returns what is known of a peer. What an earlier copy there said counts for nothing:
// it was given up, and its files may be deleted (R3). How long it stays out does count.
func (l *Leader) known(node ballast.NodeID, added int64) peer {
	p := l.peer(node)
	switch {
	case p == nil:
		return peer{node: node, added: added}
	case p.added != added && !seeded(countEarlierCopy):
		return peer{node: node, added: added, stream: p.stream, hold: p.hold, outUntil: p.outUntil}
	}
	return *p
}

func (l *Leader) peer(node ballast.NodeID) *peer {
	for i := range l.peers {
		if l.peers[i].node == node {
			return &l.peers[i]
		}
	}
	return nil
}

// Requires reports whether nothing is committed without the copy on a node.
func (l *Leader) Requires(node ballast.NodeID) bool {
	p := l.peer(node)
	return p != nil && l.required(p)
}

// required reports whether nothing is committed without p (R1, R2).
func (l *Leader) required(p *peer) bool {
	if seeded(requireOnceRecorded) || seeded(forgetOnceAsked) && l.change.asked.Remove == p.node {
		return p.inSync && seeded(requireOnceRecorded)
	}
	return p.inSync || p.joining || l.change.asked.Add == p.node
}

// commit moves what is committed to what every required copy has (R1).
func (l *Leader) commit() {
	lsn := l.durable
	if seeded(ignoreOwnDisk) {
		lsn = l.last
	}
	for i := range l.peers {
		if p := &l.peers[i]; l.required(p) {
			lsn = min(lsn, p.durable)
		}
	}
	if seeded(oneIsEnough) {
		lsn = l.durable
	}
	if len(l.members.InSync) < l.members.MinCopies {
		// New writes wait. What the log held before is settled: a copy may have to be
		// filled up to there, so that there are enough again.
		lsn = min(lsn, l.opened)
	}
	if lsn <= l.committed {
		return
	}
	l.committed = lsn
	l.effects = append(l.effects, Commit{lsn})
}

func (l *Leader) fence(epoch ballast.Epoch, reason string) {
	if seeded(commitWhenFenced) {
		return
	}
	l.fenced, l.fencedBy = true, Fenced{epoch, reason}
}

// sayFenced says it once.
func (l *Leader) sayFenced() []Effect {
	if !l.saidFenced {
		l.saidFenced = true
		l.effects = append(l.effects, l.fencedBy)
	}
	return l.effects
}

// Committed is up to where every in-sync copy is durable, as far as that is known.
func (l *Leader) Committed() ballast.LSN { return l.committed }

// Members is what the record said when it was last heard of.
func (l *Leader) Members() Members { return l.members }

// Shared reports whether another node could claim the volume: one that is in sync, or that was
// asked to be added. Then, and before an Ask is carried out that makes it so, a writer
// answers nobody without looking at its lease.
func (l *Leader) Shared() bool {
	if l.change.asked.Add != "" && l.change.asked.Add != l.cfg.Node {
		return true
	}
	return slices.ContainsFunc(l.members.InSync, func(n ballast.NodeID) bool { return n != l.cfg.Node })
}
