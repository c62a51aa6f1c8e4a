package sim

import (
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/volume"
)

// follower is the receiving side of a stream, in an agent.
type follower struct {
	node    *node
	conn    *conn
	link    *link // the other side: where answers go
	epoch   ballast.Epoch
	told    ballast.LSN // committed, by its leader's word
	syncing bool
	want    ballast.LSN
}

// end ends the stream.
func (f *follower) end() {
	if f.conn != nil {
		f.conn.close(1)
		f.conn, f.link = nil, nil
	}
}

// answer sends to the leader.
func (f *follower) answer(fn func(*link)) {
	if l := f.link; l != nil {
		f.conn.send(1, func() { fn(l) })
	}
}

// hello answers who wants to be followed.
func (n *node) hello(c *conn, l *link, h replica.Hello) {
	refuse := func(r replica.Refusal, reason replica.Reason) {
		n.w.say(n.name, "refuses %s of %v: %v", h.Node, h.Epoch, r)
		epoch := max(n.disk.epoch, n.seen.Epoch)
		c.send(1, func() { l.refused(c, r, reason, epoch) })
	}
	switch r := replica.Greet(n.disk.epoch, membersOf(n.seen, 0), h); {
	case r == replica.NotKnown:
		n.confirm()
		refuse(r, replica.Lost)
		return
	case r != replica.Welcome:
		refuse(r, replica.StaleEpoch)
		return
	case !slices.Contains(n.seen.Copies, n.name) && n.seen.Epoch <= h.Epoch:
		n.confirm()
		refuse(replica.NotKnown, replica.Lost)
		return
	case n.full:
		n.w.count.Full++
		refuse(r, replica.NoRoom)
		return
	case n.deleting || n.engine != nil && !n.engine.dead || n.attaching && n.disk.epoch >= h.Epoch:
		refuse(r, replica.Lost)
		return
	}
	n.follower.end()
	told := min(n.follower.told, n.disk.last())
	n.follower = follower{node: n, conn: c, link: l, epoch: h.Epoch, told: max(told, n.disk.applied)}
	f := &n.follower
	n.disk.exists = true
	n.store(h.Epoch, func() {
		if f.conn == c {
			state, staged := n.disk.state(), n.disk.staging
			f.answer(func(l *link) { l.here(c, state, staged) })
		}
	})
}

// store makes an epoch durable, and then goes on (R4).
func (n *node) store(epoch ballast.Epoch, then func()) {
	if !broken(answerBeforeStored) {
		n.disk.epoch = max(n.disk.epoch, epoch)
		n.agent.after(n.diskTime(), then)
		return
	}
	then() // and the next agent does not know of it
}

// takes reports whether what comes in a stream still counts.
func (f *follower) takes(c *conn) bool {
	if f.conn != c || !replica.Takes(f.node.disk.epoch, f.epoch) {
		return false
	}
	return true
}

// follow cuts what the leader does not have.
func (f *follower) follow(c *conn, lineage volume.Lineage, cut ballast.LSN) {
	d := &f.node.disk
	if !f.takes(c) {
		return
	}
	if cut < d.applied {
		f.node.w.fail("%s is told to cut to %d, and has folded up to %d", f.node.name, cut, d.applied)
		return
	}
	d.cut(cut)
	d.lineage = lineage
	d.staging = nil
	cuts := d.cuts
	f.node.agent.after(f.node.diskTime(), func() {
		if !f.takes(c) || d.cuts != cuts {
			return
		}
		d.synced = d.last()
		durable := d.synced
		f.answer(func(l *link) { l.followed(c, durable) })
	})
}

// append takes records that follow the last one.
func (f *follower) append(c *conn, first ballast.LSN, ids []recordID) {
	d := &f.node.disk
	if !f.takes(c) {
		return
	}
	if f.node.full {
		f.node.w.count.Full++
		f.answer(func(l *link) { l.refused(c, replica.Welcome, replica.NoRoom, 0) })
		f.end()
		return
	}
	if first != d.last()+1 {
		f.node.w.fail("%s got record %d after %d", f.node.name, first, d.last())
		return
	}
	d.log = append(d.log, ids...)
}

// flush syncs; whoever comes meanwhile has the next one.
func (f *follower) flush(c *conn, lsn ballast.LSN) {
	if !f.takes(c) {
		return
	}
	f.want = max(f.want, lsn)
	if broken(acknowledgeReceived) {
		durable := f.node.disk.last()
		f.answer(func(l *link) { l.acked(c, durable, durable) })
	}
	if !f.syncing {
		f.sync(c)
	}
}

func (f *follower) sync(c *conn) {
	d := &f.node.disk
	target, cuts := d.last(), d.cuts
	f.syncing = true
	f.node.agent.after(f.node.diskTime(), func() {
		f.syncing = false
		if d.cuts != cuts || f.conn != c {
			return
		}
		d.synced = max(d.synced, target)
		if !f.takes(c) {
			return
		}
		received := d.last()
		f.answer(func(l *link) { l.acked(c, received, target) })
		if f.want > d.synced && d.last() > d.synced {
			f.sync(c)
		}
	})
}

// commit folds some of what is committed (R5).
func (f *follower) commit(c *conn, lsn ballast.LSN) {
	d := &f.node.disk
	if !f.takes(c) {
		return
	}
	f.told = max(f.told, min(lsn, d.last()))
	switch f.node.w.rng.IntN(4) {
	case 0:
		upTo := f.told
		if broken(foldBeyondCommitted) {
			upTo = d.last()
		}
		d.fold(upTo)
	case 1:
		d.recycle(d.applied - min(d.applied, ballast.LSN(f.node.w.rng.IntN(8))))
	}
}

// stage begins to bring chunks in, beside what is here.
func (f *follower) stage(c *conn, s staging) {
	if !f.takes(c) {
		return
	}
	d := &f.node.disk
	if broken(stageInPlace) {
		d.applied, d.base, d.baseID, d.log = f.node.w.history[s.to].lsn, f.node.w.history[s.to].lsn, s.to, nil
		d.synced = d.base
	}
	d.staging = &s
	f.node.w.count.Stagings++
}

func (f *follower) chunk(c *conn, chunk int, id recordID) {
	d := &f.node.disk
	if !f.takes(c) || d.staging == nil {
		return
	}
	if broken(stageInPlace) {
		d.image[chunk] = id
	}
	next := *d.staging
	next.chunk[chunk] = id
	next.have |= 1 << chunk
	d.staging = &next
}

// staged makes what was brought in the copy, at once (R6).
func (f *follower) staged(c *conn) {
	d := &f.node.disk
	if !f.takes(c) || d.staging == nil {
		return
	}
	s := d.staging
	f.node.agent.after(f.node.diskTime(), func() {
		if !f.takes(c) || d.staging != s {
			return
		}
		d.merge()
		durable := d.last()
		f.told = durable
		f.answer(func(l *link) { l.followed(c, durable) })
	})
}

// prepare gets the history from a copy that is in sync, for one that is hollow. It asks
// for a while: another claim would only be later news to the others.
func (n *node) prepare(rec record, tries int) {
	if tries == 0 || n.seen.Epoch != rec.Epoch {
		n.attaching = false
		return
	}
	others := without(rec.InSync, n.name)
	from := n.w.nodes[slices.Index(nodeNames[:], others[n.w.rng.IntN(len(others))])]
	answered := false
	n.w.send(n.index, from.index, &from.agent, func() {
		from.prepared(n, rec, func(p point) {
			n.w.send(from.index, n.index, &n.agent, func() {
				if !answered {
					answered = true
					n.hollow(rec, p)
				}
			})
		})
	})
	n.agent.after(n.w.between(10*ms, 50*ms), func() {
		if !answered {
			answered = true
			n.prepare(rec, tries-1)
		}
	})
}

// point is where a hollow copy begins: at the other's end, which may be committed, and which
// another in-sync copy may lack.
type point struct {
	start   recordID
	lineage volume.Lineage
}

// prepared stores the claimant's epoch, ends whoever streams, and says where its log ends.
func (n *node) prepared(by *node, rec record, reply func(point)) {
	if n.seen.Epoch < rec.Epoch {
		n.confirm()
		return
	}
	d := &n.disk
	h := replica.Hello{Node: by.name, Epoch: rec.Epoch}
	if !d.exists || !d.complete || n.attaching || n.deleting || n.engine != nil && !n.engine.dead || replica.Greet(d.epoch, membersOf(n.seen, 0), h) != replica.Welcome {
		return
	}
	if broken(prepareUnfenced) {
		d.synced = d.last()
		reply(point{start: d.lastID(), lineage: trimmed(d.lineage.Next(rec.Epoch, d.last()+1), d.base)})
		return
	}
	n.follower.end()
	cuts := d.cuts
	n.store(rec.Epoch, func() {
		if d.cuts != cuts || d.epoch != rec.Epoch || n.follower.conn != nil || !d.complete {
			return
		}
		if n.w.history[d.lastID()].epoch == rec.Epoch {
			return // who asked twice has gone on from it already
		}
		d.synced = d.last()
		d.lineage = trimmed(d.lineage.Next(rec.Epoch, d.last()+1), d.base)
		for _, name := range rec.InSync {
			other := &n.w.nodes[slices.Index(nodeNames[:], name)].disk
			n.w.apart = n.w.apart || other.synced < d.last() || other.id(max(d.last(), other.base)) != d.lastID()
		}
		reply(point{start: d.lastID(), lineage: d.lineage})
	})
}

// hollow makes a copy whose chunks are still elsewhere.
func (n *node) hollow(rec record, p point) {
	if n.disk.epoch >= rec.Epoch || n.engine != nil || n.seen.Epoch != rec.Epoch {
		n.attaching = false
		return
	}
	n.follower.end()
	n.agent.after(n.diskTime(), func() {
		n.attaching = false
		if n.disk.epoch >= rec.Epoch || n.seen.Epoch != rec.Epoch {
			return
		}
		n.disk.destroy()
		d := &n.disk
		d.exists, d.missing = true, 1<<chunks-1
		d.base, d.baseID, d.log = n.w.history[p.start].lsn, p.start, nil
		d.applied, d.lineage = d.base, p.lineage
		d.ahead = p.start
		d.open(rec.Epoch)
		n.lead(rec)
	})
}

// chunkFor gives a chunk to a hollow leader: as of what is committed, and not before the leader's
// beginning. Who does not follow it, or was prepared for it and not gone on from, has another past.
func (n *node) chunkFor(chunk int, leader volume.Beginning, reply func(content recordID, as recordID)) {
	d := &n.disk
	mine := d.lineage.Beginning()
	if !d.exists || !d.complete || !broken(fillFromAnyCopy) && (mine != leader || d.epoch > leader.Epoch) {
		return
	}
	at := max(min(n.follower.told, d.last()), d.applied)
	if !broken(hollowAtLogEnd) {
		at = max(at, mine.From-1)
	}
	if at > d.last() {
		return
	}
	as := d.id(at)
	reply(n.w.history[as].content[chunk], as)
}
