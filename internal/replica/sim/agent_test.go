package sim

import (
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/replica"
)

// node is a machine: a disk, an agent, and perhaps an engine.
type node struct {
	w     *world
	index int
	name  ballast.NodeID
	rate  float64 // how fast its clock goes
	since time.Duration
	disk  files
	slow  time.Duration // of its disk
	full  bool
	lease lease // in a file: it outlives the agent, not the machine

	agent     process
	seen      record
	session   uint64 // that the agent keeps; 0: none yet
	confirmed confirmation
	watched   [maxNodes]watched
	wanted    int // where the volume is, as far as it is known here
	attaching bool
	leaving   bool // Release is under way
	deleting  bool // the copy here: no stream may come
	follower  follower
	engine    *engine
}

// lease is until when engines that were confirmed under a session may answer.
type lease struct {
	session uint64
	until   time.Duration // on the node's clock
}

// confirmation says that an epoch was this node's, as a quorum knew it after the
// session began.
type confirmation struct {
	session uint64
	epoch   ballast.Epoch
}

// watched is since when a node's session has stood still, on the watcher's clock.
type watched struct {
	revision int64
	since    time.Duration
}

func newNode(w *world, index int) *node {
	n := &node{w: w, index: index, name: nodeNames[index]}
	n.rate = 0.96 + 0.08*w.rng.Float64()
	n.since = w.between(0, 1000*time.Second)
	n.disk.w = w
	n.agent.w = w
	n.startAgent()
	return n
}

// clock is the node's monotonic time.
func (n *node) clock() time.Duration {
	return n.since + time.Duration(float64(n.w.now)*n.rate)
}

func (n *node) diskTime() time.Duration {
	return n.w.between(100*time.Microsecond, 2*ms) + n.slow
}

func (n *node) startAgent() {
	n.agent.start()
	n.seen, n.session, n.confirmed = record{}, 0, confirmation{}
	n.watched = [maxNodes]watched{}
	n.attaching, n.leaving, n.deleting = false, false, false
	n.follower = follower{node: n}
	life := n.agent.life
	n.renewLoop(life)
	n.tendLoop(life)
}

// renewLoop rewrites the session's key every quarter of the lease.
func (n *node) renewLoop(life int) {
	n.agent.do(life, n.renew)
	if n.agent.life == life {
		n.w.after(n.w.lease/4, func() { n.renewLoop(life) })
	}
}

func (n *node) renew() {
	sent, number := n.clock(), n.session
	begins := number == 0
	n.w.etcd.ask(n, n.w.lease/2, func() {
		if number == 0 {
			number = n.w.etcd.sessions[n.index].number + 1
		}
		n.w.etcd.renew(n.index, number)
	}, func(answered bool) {
		if answered {
			n.renewed(sent, number, begins)
		}
	})
}

// renewed counts from before the write was sent, less a tenth. A session that had run
// out is over, and nothing that was sent in it begins another; the next one confirms nothing
// of what the earlier one did.
func (n *node) renewed(sent time.Duration, number uint64, begins bool) {
	until := sent + n.w.lease*9/10
	switch {
	case n.session == 0 && begins:
		n.session = number
		n.lease = lease{number, until}
		n.w.say(n.name, "session %d begins", number)
		n.confirm()
	case n.session != number:
	case n.clock() >= n.lease.until && !broken(keepLapsedSession):
		n.w.count.Lapses++
		n.w.say(n.name, "session %d is over", number)
		n.session = 0
		n.renew()
	default:
		n.lease.until = max(n.lease.until, until)
		if n.engine != nil && n.confirmed != (confirmation{n.session, n.engine.epoch}) {
			n.confirm()
		}
	}
}

// look reads the record, and where the volume is wanted: what a watch would tell.
func (n *node) look() {
	var rec record
	var wanted int
	n.w.etcd.ask(n, n.w.lease/2, func() { rec, wanted = n.w.etcd.record, n.w.desired }, func(answered bool) {
		if answered {
			n.wanted = wanted
			n.learn(rec)
		}
	})
}

// confirm asks a quorum whether the epoch is still this node's, in this session.
func (n *node) confirm() {
	session := n.session
	var rec record
	n.w.etcd.ask(n, n.w.lease/2, func() { rec = n.w.etcd.record }, func(answered bool) {
		if answered {
			n.confirmedBy(rec, session)
			n.learn(rec)
		}
	})
}

// confirmedBy takes what was read or written in a session for its confirmation: in the one
// that it was sent in.
func (n *node) confirmedBy(rec record, session uint64) {
	if rec.Primary == n.name && session != 0 && session == n.session {
		n.w.count.Confirmed++
		n.confirmed = confirmation{session, rec.Epoch}
	}
}

// learn takes in a record, and tells the engine.
func (n *node) learn(rec record) {
	if rec.Revision > n.seen.Revision {
		n.seen = rec
	}
	e := n.engine
	if e == nil || e.dead {
		return
	}
	if n.seen.Epoch > e.epoch || n.seen.Primary != n.name {
		n.w.say(n.name, "agent ends the engine of %v: the record is at %v of %v", e.epoch, n.seen.Epoch, n.seen.Primary)
		e.kill()
		n.w.count.Fenced++
		return
	}
	m := n.members()
	e.after(n.w.between(0, ms), func() { e.step(replica.MembersRead{Members: m}) })
}

// members is the latest record, with the session in which its epoch was confirmed.
func (n *node) members() replica.Members {
	session := uint64(0)
	if n.confirmed.epoch == n.seen.Epoch {
		session = n.confirmed.session
	}
	return membersOf(n.seen, session)
}

// change makes the change that the engine asks for, over the revision that it was
// decided on, once.
func (n *node) change(c replica.Request, done func(replica.Event)) {
	var rec record
	var err error
	n.w.etcd.ask(n, n.w.lease/2, func() {
		var next record
		if next, err = cluster.DecideChange(n.w.etcd.record, c.Change, c.Branch); err == nil {
			n.w.etcd.put(next)
		}
		rec = n.w.etcd.record
	}, func(answered bool) {
		if !answered {
			n.w.count.Doubts++
			done(replica.ChangeFailed{Change: c.Change, Unknown: true})
			return
		}
		n.learn(rec)
		if err != nil {
			done(replica.ChangeFailed{Change: c.Change})
		} else {
			n.countChange(c.Change)
		}
		done(replica.MembersRead{Members: n.members()})
	})
}

// countChange notes what was changed: a copy that is added may have been in sync before.
func (n *node) countChange(c replica.Change) {
	w := n.w
	if c.Remove != "" {
		w.count.Removed++
		w.removed[slices.Index(nodeNames[:], c.Remove)] = true
		return
	}
	w.count.Added++
	if w.removed[slices.Index(nodeNames[:], c.Add)] {
		w.count.AddedAgain++
	}
}

// tendLoop attaches the volume where it is wanted, and detaches it where it is not.
func (n *node) tendLoop(life int) {
	n.agent.do(life, n.tend)
	if n.agent.life == life {
		n.w.after(n.w.between(60*ms, 100*ms), func() { n.tendLoop(life) })
	}
}

func (n *node) tend() {
	if n.engine != nil && n.engine.dead {
		n.engine = nil
	}
	if n.w.oneIn(4) {
		n.look()
	}
	switch wanted := n.wanted == n.index; {
	case wanted && n.engine == nil && !n.attaching && !n.deleting:
		n.attach()
	case !wanted && n.engine != nil && !n.leaving:
		n.leave()
	case !wanted && n.engine == nil && !n.attaching && n.seen.Primary == n.name:
		n.release(n.seen.Epoch) // a claim whose answer was lost, or an engine that died
	case n.engine == nil && !n.attaching && !n.deleting && n.disk.exists && unwanted(n.seen, n.name):
		n.deleteCopy()
	}
}

// unwanted reports whether a copy may be deleted.
func unwanted(r record, node ballast.NodeID) bool {
	return r.Primary != node && !slices.Contains(r.Copies, node) && !counts(r, node) && len(r.InSync) >= r.Spec.CopiesNeeded()
}

// deleteCopy reads the record once more when no stream can make the copy count any more.
func (n *node) deleteCopy() {
	n.deleting = true
	n.follower.end()
	var rec record
	n.w.etcd.ask(n, n.w.lease/2, func() { rec = n.w.etcd.record }, func(answered bool) {
		if !answered || !unwanted(rec, n.name) {
			n.deleting = false
			return
		}
		n.agent.after(n.diskTime(), func() {
			n.deleting = false
			if n.engine != nil || n.attaching {
				return
			}
			n.w.say(n.name, "deletes its copy")
			n.w.count.Deleted++
			epoch := n.disk.epoch
			n.disk.destroy()
			n.disk.epoch = epoch
		})
	})
}

// leave ends the engine, and only then the hold.
func (n *node) leave() {
	n.w.say(n.name, "detaches %v", n.engine.epoch)
	epoch := n.engine.epoch
	n.engine.kill()
	n.engine = nil
	n.release(epoch)
}

func (n *node) release(epoch ballast.Epoch) {
	n.leaving = true
	var rec record
	n.w.etcd.ask(n, n.w.lease/2, func() {
		if next, err := cluster.DecideRelease(n.w.etcd.record, n.name, epoch); err == nil {
			n.w.etcd.put(next)
		}
		rec = n.w.etcd.record
	}, func(answered bool) {
		n.leaving = false
		if answered {
			n.learn(rec)
		}
	})
}

// attach reads the record and the sessions, and claims the volume when it may.
func (n *node) attach() {
	n.attaching = true
	var rec record
	var sessions [maxNodes]session
	n.w.etcd.ask(n, n.w.lease/2, func() {
		rec, sessions = n.w.etcd.record, n.w.etcd.sessions
	}, func(answered bool) {
		n.attaching = false
		if !answered || n.engine != nil {
			return
		}
		n.learn(rec)
		n.watch(sessions)
		n.consider(rec)
	})
}

// consider claims for the copy that is here if it counts, else once one that counts has
// answered that it is whole: the claim may take the only other one out of the in-sync set.
func (n *node) consider(rec record) {
	if len(rec.InSync) == 0 || n.disk.exists && n.disk.complete && counts(rec, n.name) {
		n.claim(rec, false)
		return
	}
	for _, name := range without(rec.InSync, n.name) {
		from := n.w.nodes[slices.Index(nodeNames[:], name)]
		n.w.send(n.index, from.index, &from.agent, func() {
			if from.disk.complete {
				n.w.send(from.index, n.index, &n.agent, func() {
					if !n.attaching && n.engine == nil {
						n.claim(rec, true)
					}
				})
			}
		})
	}
	if n.w.forced {
		n.claim(rec, true)
	}
}

// watch notes since when each session has stood still.
func (n *node) watch(sessions [maxNodes]session) {
	for i, s := range sessions {
		if n.watched[i].revision != s.revision || n.watched[i].since == 0 {
			n.watched[i] = watched{s.revision, n.clock()}
		}
	}
}

// over reports whether a node's session has stood still for a lease.
func (n *node) over(name ballast.NodeID) bool {
	i := slices.Index(nodeNames[:], name)
	return n.clock()-n.watched[i].since >= n.w.lease || broken(claimWithoutSession)
}

func (n *node) claim(rec record, hollow bool) {
	c := cluster.ClaimRequest{Floor: n.disk.epoch, Hollow: hollow, Stands: n.disk.durably()}
	if n.disk.epoch > rec.Epoch+1 && n.w.tracing {
		n.w.say(n.name, "files have seen %v", n.disk.epoch)
	}
	for _, name := range append(slices.Clone(rec.InSync), rec.Primary) {
		if name != "" && name != n.name && n.over(name) {
			c.Over = append(c.Over, name)
		}
	}
	if n.w.mayForce(n, rec, c) {
		c.Hollow, c.Force, c.Stands = false, &cluster.Forced{}, n.disk.durably()
	}
	if _, err := cluster.DecideClaim(rec, n.name, c); err != nil {
		n.w.count.Refused++
		return
	}
	n.attaching = true
	session := n.session
	var now record
	claimed := false
	n.w.etcd.ask(n, n.w.lease/2, func() {
		now, claimed = n.swapClaim(rec, c)
	}, func(answered bool) {
		n.attaching = false
		if !answered || !claimed || n.engine != nil {
			return
		}
		n.confirmedBy(now, session)
		n.learn(now)
		n.attaching = true
		n.take(now, c)
	})
}

// swapClaim runs at the store: the record must be as it was decided on, and the sessions
// that are over must have stood still all the time.
func (n *node) swapClaim(rec record, c cluster.ClaimRequest) (record, bool) {
	e := &n.w.etcd
	if e.record.Revision != rec.Revision {
		return e.record, false
	}
	for _, name := range c.Over {
		i := slices.Index(nodeNames[:], name)
		if e.sessions[i].revision != n.watched[i].revision && !broken(claimWithoutSession) {
			return e.record, false
		}
	}
	next, err := cluster.DecideClaim(e.record, n.name, c)
	if err != nil {
		return e.record, false
	}
	n.w.count.Claims++
	switch {
	case rec.Primary != "" && rec.Primary != n.name:
		n.w.count.Failovers++
	case rec.Primary == "" && e.leader != "" && e.leader != n.name:
		n.w.count.Moves++
	}
	e.leader = n.name
	if c.Hollow {
		n.w.count.HollowClaims++
	}
	if c.Force != nil {
		if n.w.count.Forced++; len(rec.Forced) > 0 {
			n.w.count.ForcedAgain++
		}
		n.w.forkAgain(n)
		n.w.checker.forced(n, next.Epoch)
	}
	e.put(next)
	return e.record, true
}

// take makes this node's copy the leader's, after a claim.
func (n *node) take(rec record, c cluster.ClaimRequest) {
	if n.disk.epoch >= rec.Epoch {
		n.attaching = false // somebody later was here already
		return
	}
	if c.Hollow {
		n.prepare(rec, 10)
		return
	}
	n.follower.end()
	n.disk.epoch = rec.Epoch
	n.agent.after(n.diskTime(), func() {
		n.attaching = false
		if n.disk.epoch != rec.Epoch {
			return
		}
		n.disk.open(rec.Epoch)
		n.w.checker.whole(&n.disk, "opened")
		n.lead(rec)
	})
}

func (n *node) lead(rec record) {
	n.w.say(n.name, "leads under %v from lsn %d", rec.Epoch, n.disk.last())
	n.w.checker.leading(&n.disk)
	m := membersOf(rec, 0)
	if n.confirmed.epoch == rec.Epoch {
		m.Session = n.confirmed.session
	}
	n.engine = newEngine(n, m)
}
