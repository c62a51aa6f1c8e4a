package sim

import (
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// engine is the leader's process, with an application that writes, flushes and reads.
type engine struct {
	process
	node      *node
	epoch     ballast.Epoch
	disk      *files
	leader    *replica.Leader
	links     []*link
	flushes   []ballast.LSN // that somebody waits for
	reads     int
	asked     ballast.LSN // the highest LSN that a sync was asked for
	syncing   bool
	streams   uint64
	overtaken bool          // it was told of a later epoch
	shut      time.Duration // since when the gate is closed, on the node's clock; 0: open
}

func newEngine(n *node, m replica.Members) *engine {
	e := &engine{node: n, epoch: m.Epoch, disk: &n.disk}
	e.w = n.w
	e.leader = replica.NewLeader(replica.LeaderConfig{Node: n.name, Epoch: m.Epoch, Patience: n.w.patience, Hollow: !n.disk.complete}, m, n.disk.position())
	e.setLinks()
	e.tickLoop(e.life)
	e.writeLoop(e.life)
	return e
}

// step gives the leader an event, and does what follows.
func (e *engine) step(event replica.Event) {
	if e.dead {
		return
	}
	for _, effect := range slices.Clone(e.leader.Step(e.node.clock(), event)) {
		switch effect := effect.(type) {
		case replica.Commit:
			e.w.checker.committed(e, effect.LSN)
			for _, l := range e.links {
				l.commit(effect.LSN)
			}
		case replica.Ask:
			e.w.say(e.node.name, "asks: add %q remove %q over %d: %s", effect.Change.Add, effect.Change.Remove, effect.Change.Revision, effect.Change.Reason)
			e.w.checker.asked(e, effect.Change)
			e.change(effect.Change)
		case replica.Fenced:
			e.w.say(e.node.name, "fenced by %v: %s", effect.Epoch, effect.Reason)
			e.w.count.Fenced++
			e.kill()
			return
		case replica.Stalled, replica.Resumed:
		}
	}
	if _, ok := event.(replica.MembersRead); ok {
		e.setLinks()
	}
	e.answer()
}

// change asks the agent for a change, which may be gone, or hang.
func (e *engine) change(c replica.Change) {
	agent := &e.node.agent
	answered := false
	answer := func(event replica.Event) {
		e.after(0, func() {
			if failed, ok := event.(replica.ChangeFailed); ok && answered && !failed.Unknown {
				return
			}
			answered = true
			e.step(event)
		})
	}
	if agent.dead {
		e.after(10*ms, func() { e.step(replica.ChangeFailed{Change: c}) })
		return
	}
	request := replica.Request{Change: c, Branch: replica.BranchOf(e.disk.lineage)}
	agent.after(0, func() { e.node.change(request, answer) })
	e.after(e.w.lease, func() {
		if !answered {
			answered = true
			e.step(replica.ChangeFailed{Change: c, Unknown: true})
		}
	})
}

// open reports whether the gate is: nobody could have claimed the volume meanwhile.
func (e *engine) open() bool {
	if !e.leader.Shared() || broken(answerAfterLease) {
		return true
	}
	n := e.node
	return (n.lease.session == e.leader.Members().Session || broken(ignoreSession)) && n.clock() < n.lease.until
}

// answer answers flushes and reads, if the gate is open; after the fence time nobody
// gets an answer any more.
func (e *engine) answer() {
	if !e.open() {
		if e.shut == 0 {
			e.shut = e.node.clock()
		}
		if e.node.clock()-e.shut > 2*e.w.lease {
			e.w.say(e.node.name, "fails: the gate is closed for too long")
			e.kill()
		}
		return
	}
	e.shut = 0
	kept := e.flushes[:0]
	for _, lsn := range e.flushes {
		if lsn <= e.leader.Committed() || broken(skipWaiting) && lsn <= e.disk.synced {
			e.w.checker.acked(e, lsn)
		} else {
			kept = append(kept, lsn)
		}
	}
	e.flushes = kept
	for ; e.reads > 0; e.reads-- {
		e.w.checker.read(e)
	}
}

func (e *engine) tickLoop(life int) {
	e.do(life, e.tick)
	if e.life == life {
		e.w.after(e.w.patience/8, func() { e.tickLoop(life) })
	}
}

func (e *engine) tick() {
	e.step(replica.Tick{})
	for _, l := range e.links {
		if !e.dead {
			l.tend()
		}
	}
	switch {
	case e.dead:
	case !e.disk.complete:
		e.fetch()
	case e.w.oneIn(6):
		e.disk.fold(min(e.leader.Committed(), e.disk.last()))
		e.disk.recycle(e.keep())
	}
}

// keep is up to where the log need not be kept: what streams still have to read is,
// within the log's bound.
func (e *engine) keep() ballast.LSN {
	upTo := e.disk.applied
	for _, l := range e.links {
		if l.state != idle && !e.w.oneIn(10) {
			upTo = min(upTo, l.sent)
		}
	}
	return upTo
}

func (e *engine) writeLoop(life int) {
	e.do(life, e.write)
	if e.life == life {
		e.w.after(e.w.between(5*ms, 45*ms), func() { e.writeLoop(life) })
	}
}

// write is the application: it writes, and waits for some of it to be durable. In the
// end it waits for all.
func (e *engine) write() {
	rest := e.w.checker.quiet
	if len(e.flushes) > 3 || e.dead || rest && e.leader.Committed() == e.disk.last() {
		return
	}
	if e.w.oneIn(5) {
		e.reads++
	}
	if !rest {
		for range 1 + e.w.rng.IntN(3) {
			e.disk.append(e.w.history.write(e.disk.lastID(), e.epoch, e.w.rng.IntN(chunks)))
			e.w.count.Writes++
		}
	}
	last := e.disk.last()
	e.step(replica.Appended{Last: last})
	for _, l := range e.links {
		if !e.dead {
			l.pump()
		}
	}
	if !e.dead && (rest || !e.w.oneIn(4)) {
		e.flush(last)
	}
}

func (e *engine) flush(last ballast.LSN) {
	e.flushes = append(e.flushes, last)
	e.step(replica.Flushed{LSN: last})
	for _, l := range e.links {
		if !e.dead {
			l.flush(last)
		}
	}
	e.asked = last
	e.sync()
}

// sync makes the log durable here; whoever comes meanwhile has the next one.
func (e *engine) sync() {
	if e.syncing || e.dead {
		return
	}
	e.syncing = true
	target, cuts := e.disk.last(), e.disk.cuts
	e.after(e.node.diskTime(), func() {
		e.syncing = false
		if e.disk.cuts != cuts {
			return
		}
		e.disk.synced = max(e.disk.synced, target)
		e.step(replica.Durable{LSN: e.disk.synced})
		if e.asked > e.disk.synced {
			e.sync()
		}
	})
}

// fetch gets a chunk that a hollow copy lacks from one that is in sync.
func (e *engine) fetch() {
	m := e.leader.Members()
	if len(m.InSync) == 0 || m.InSync[0] == e.node.name && len(m.InSync) == 1 {
		return
	}
	name := m.InSync[e.w.rng.IntN(len(m.InSync))]
	from := e.w.nodes[slices.Index(nodeNames[:], name)]
	if from == e.node {
		return
	}
	for chunk := range chunks {
		if e.disk.missing&(1<<chunk) == 0 {
			continue
		}
		leader := e.disk.lineage.Beginning()
		e.w.send(e.node.index, from.index, &from.agent, func() {
			from.chunkFor(chunk, leader, func(id, as recordID) {
				e.w.send(from.index, e.node.index, &e.process, func() { e.present(chunk, id, as) })
			})
		})
		if e.w.oneIn(2) {
			return
		}
	}
}

// present takes a chunk that was missing.
func (e *engine) present(chunk int, id, as recordID) {
	d := e.disk
	if e.dead || d.missing&(1<<chunk) == 0 {
		return
	}
	d.missing &^= 1 << chunk
	d.image[chunk] = id
	if e.w.history[as].lsn > e.w.history[d.ahead].lsn {
		d.ahead = as
	}
	if d.missing == 0 {
		d.complete = true
		e.w.count.Completed++
		e.w.say(e.node.name, "has all chunks")
		e.w.checker.whole(d, "filled")
		e.step(replica.Complete{})
	}
}

// setLinks has a link to every other copy.
func (e *engine) setLinks() {
	var links []*link
	for _, p := range e.leader.Members().Copies {
		i := slices.Index(nodeNames[:], p.Node)
		if p.Node == e.node.name {
			continue
		}
		known := slices.IndexFunc(e.links, func(l *link) bool { return l.peer.index == i && l.added == p.Added })
		if known < 0 {
			links = append(links, &link{engine: e, peer: e.w.nodes[i], added: p.Added})
		} else {
			links = append(links, e.links[known])
		}
	}
	for _, l := range e.links {
		if l.conn != nil && !slices.Contains(links, l) {
			l.conn.close(0)
			l.conn, l.state = nil, idle
		}
	}
	e.links = links
}
