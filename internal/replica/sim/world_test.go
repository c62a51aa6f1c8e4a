// Package sim runs the decisions of a cluster, of nodes, disks and links that fail, in
// a time of its own: replica's leader and follower rules, cluster's record decisions,
// and the rule of the lease. Everything that happens follows from a seed.
//
// What is real: internal/replica, and what internal/cluster decides. What is modelled, after
// docs/decisions/0007-replication.md: an engine (engine_test.go), an agent with its
// receiver (agent_test.go, follower_test.go), a copy's files, whose unsynced tail a
// power cut takes (copy_test.go), TCP (net_test.go), etcd (etcd_test.go).
package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

const (
	maxNodes = 5
	ms       = time.Millisecond
)

var nodeNames = [maxNodes]ballast.NodeID{"n1", "n2", "n3", "n4", "n5"}

// settings are what a seed chooses before anything happens.
type settings struct {
	nodes     int
	copies    int // to begin with
	minCopies int
	lease     time.Duration
	patience  time.Duration
	faults    time.Duration // how long things go wrong
	pause     time.Duration // mean time between two faults
	forced    bool          // an operator forces a failover when nothing else helps
}

// world is everything there is. It has one goroutine.
type world struct {
	settings
	seed     uint64
	rng      *rand.Rand
	now      time.Duration
	queue    queue
	seq      uint64
	nodes    []*node
	etcd     etcd
	cut      [maxNodes + 1][maxNodes + 1]bool // from, to; the last one is etcd
	calm     bool                             // nothing goes wrong any more
	slowNet  time.Duration
	desired  int
	operator time.Duration  // until when an operator decides where the volume is wanted
	removed  [maxNodes]bool // from the in-sync set, once
	apart    bool           // a hollow copy began with what not every copy in sync has: others may have to be filled to have it
	history  history
	checker  checker
	count    counters
	tracing  bool
	trace    strings.Builder
	failure  error
}

// counters say what happened, so that nothing passes because nothing did.
type counters struct {
	Events, Writes, Acks, FaultAcks, Reads int

	// What went wrong.
	PowerCuts, PowerCutsOfAll, AgentsKilled, EnginesKilled, Stopped int // of machines and processes
	LinksCut, OneWay, QuorumsLost                                   int
	DisksLost, Full                                                 int
	Doubts, LateSwaps                                               int // swaps whose outcome was unknown, and requests done after their answer was given up

	// What came of it.
	Claims, Refused, Failovers, Moves             int // claims from who did not let go, and from who did
	HollowClaims, Completed                       int // attached without a copy, and filled
	Added, AddedAgain, Removed                    int // to and from the in-sync set
	Lapses, Confirmed, Fenced                     int // of sessions and epochs
	Cuts, Stagings, Resumed, Merged               int // how copies caught up
	Replaced, Deleted                             int // copies that were placed anew, or given up
	Forced, ForcedAgain, SetAside, BackToSetAside int // failovers, and what an earlier one gave up
	Beyond                                        int // nothing was left to go on from
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x62616c6c617374))}
	w.settings = settings{
		nodes:     3 + w.rng.IntN(3),
		minCopies: 1,
		lease:     time.Duration(300+w.rng.IntN(900)) * ms,
		patience:  time.Duration(100+w.rng.IntN(500)) * ms,
		faults:    time.Duration(3000+w.rng.IntN(5000)) * ms,
		pause:     time.Duration(60+w.rng.IntN(500)) * ms,
		forced:    w.rng.IntN(5) == 0,
	}
	if w.forced { // such a story has many chapters
		w.lease, w.faults = w.lease/2, w.faults+3000*ms
	}
	w.copies = 2 + w.rng.IntN(min(2, w.settings.nodes-1))
	if w.rng.IntN(6) == 0 {
		w.minCopies = 2
	}
	w.checker.w = w
	w.history.init()
	w.etcd.init(w)
	for i := range w.settings.nodes {
		w.nodes = append(w.nodes, newNode(w, i))
	}
	first := &w.nodes[0].disk // was attached there once, and nothing was written
	first.exists, first.complete = true, true
	first.open(1)
	return w
}

// after calls fn when d has gone by.
func (w *world) after(d time.Duration, fn func()) {
	w.seq++
	w.queue.push(event{w.now + d, w.seq, fn})
}

// run lets things happen until the time is there, or something is wrong.
func (w *world) run(until time.Duration, done func() bool) {
	for w.failure == nil && len(w.queue) > 0 && w.queue[0].at <= until {
		e := w.queue.pop()
		w.now = e.at
		w.count.Events++
		e.fn()
		if done != nil && w.count.Events%64 == 0 && done() {
			return
		}
	}
}

// fail notes the first thing that is wrong; the world stops there.
func (w *world) fail(format string, args ...any) {
	if w.failure == nil {
		w.failure = fmt.Errorf(format, args...)
		w.say("VIOLATION", "%v", w.failure)
	}
}

// say adds a line to the trace.
func (w *world) say(who any, format string, args ...any) {
	if w.tracing {
		fmt.Fprintf(&w.trace, "%9.4f %-4v %s\n", w.now.Seconds(), who, fmt.Sprintf(format, args...))
	}
}

// between returns a time from a to b.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

func (w *world) oneIn(n int) bool { return w.rng.IntN(n) == 0 }

// event is something that happens at a time.
type event struct {
	at  time.Duration
	seq uint64
	fn  func()
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue is a heap of events.
type queue []event

func (q *queue) push(e event) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	*q = h
}

func (q *queue) pop() event {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = event{}
	h = h[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && h[down+1].before(h[down]) {
			down++
		}
		if !h[down].before(h[i]) {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	*q = h
	return top
}

// process is what can be killed, and stopped for a while: then what it would have
// done happens when it goes on.
type process struct {
	w       *world
	life    int
	dead    bool
	stopped bool
	backlog []func()
}

func (p *process) after(d time.Duration, fn func()) {
	life := p.life
	p.w.after(d, func() { p.do(life, fn) })
}

func (p *process) do(life int, fn func()) {
	switch {
	case p.dead || p.life != life:
	case p.stopped:
		p.backlog = append(p.backlog, func() { p.do(life, fn) })
	default:
		fn()
	}
}

func (p *process) kill() {
	p.life++
	p.dead, p.stopped, p.backlog = true, false, nil
}

func (p *process) start() { p.dead = false }

func (p *process) stop() { p.stopped = true }

func (p *process) resume() {
	if !p.stopped {
		return
	}
	backlog := p.backlog
	p.stopped, p.backlog = false, nil
	for _, fn := range backlog {
		p.w.after(0, fn)
	}
}
