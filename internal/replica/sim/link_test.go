package sim

import (
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

type linkState int

const (
	idle linkState = iota
	greeting
	following
	streaming
	waiting // for chunks that are not here, or not committed yet
	filling
)

// link is the leader's side of the stream to one copy.
type link struct {
	engine *engine
	peer   *node
	added  int64 // which of the copies that were placed there
	conn   *conn
	stream uint64
	state  linkState
	sent   ballast.LSN
	told   ballast.LSN
	theirs replica.State
	kept   *staging // what it has of an earlier filling
	next   time.Duration
	ping   bool
}

// current reports whether a message is of the present connection.
func (l *link) current(c *conn) bool { return !l.engine.dead && l.conn == c }

// tend connects, notices silence, and begins what had to wait.
func (l *link) tend() {
	w := l.engine.w
	switch {
	case l.state == idle:
		if w.now >= l.next {
			l.connect()
		}
	case w.now-l.conn.heard[0] > w.patience:
		l.drop(replica.Lost, 0)
	case w.now-l.conn.heard[0] > w.patience/3 && !l.ping:
		l.ping = true
		c := l.conn
		c.send(0, func() { c.send(1, func() { l.ping = false }) })
	case l.state == waiting:
		l.fill()
	}
}

func (l *link) connect() {
	e := l.engine
	e.streams++
	l.stream = e.streams
	l.next = e.w.now + e.w.between(20*ms, 60*ms)
	c := e.w.dial(&e.process, e.node.index, &l.peer.agent, l.peer.index)
	if c == nil {
		e.step(replica.Disconnected{Node: l.peer.name, Stream: l.stream})
		return
	}
	l.conn, l.state, l.ping, l.told = c, greeting, false, 0
	c.reset[0] = func() {
		if l.current(c) {
			l.drop(replica.Lost, 0)
		}
	}
	h := replica.Hello{Node: e.node.name, Epoch: e.epoch}
	c.send(0, func() { l.peer.hello(c, l, h) })
}

// drop ends the connection.
func (l *link) drop(reason replica.Reason, epoch ballast.Epoch) {
	l.conn.close(0)
	l.conn, l.state = nil, idle
	l.engine.step(replica.Disconnected{Node: l.peer.name, Stream: l.stream, Reason: reason, Epoch: epoch})
}

func (l *link) refused(c *conn, r replica.Refusal, reason replica.Reason, epoch ballast.Epoch) {
	if l.current(c) {
		if r != replica.Stale && reason == replica.StaleEpoch {
			reason = replica.Lost
		}
		l.engine.overtaken = l.engine.overtaken || reason == replica.StaleEpoch && epoch > l.engine.epoch
		l.drop(reason, epoch)
	}
}

// here learns where the copy stands, and decides how it gets to have the rest.
func (l *link) here(c *conn, s replica.State, staged *staging) {
	if !l.current(c) {
		return
	}
	l.theirs, l.kept = s, staged
	d := l.engine.disk
	m := replica.Meet(d.position(), s)
	if !m.FromLog {
		if s.Complete && !l.engine.w.apart && slices.Contains(l.engine.leader.Members().InSync, l.peer.name) && !l.engine.w.forced {
			l.engine.w.fail("the copy on %s is in sync, stands at %d, and needs chunks", l.peer.name, s.Last)
		}
		l.state, l.sent = waiting, d.last()
		l.engine.step(replica.Connected{Node: l.peer.name, Stream: l.stream, Added: l.added})
		return
	}
	l.state, l.sent = following, m.Cut
	lineage, cut := d.lineage, m.Cut
	if broken(cutTooLittle) {
		cut = max(cut, min(s.Last, d.last()))
		l.sent = cut
	}
	c.send(0, func() { l.peer.follower.follow(c, lineage, cut) })
}

// followed is told that the copy has what the leader has, up to what it is durable to.
func (l *link) followed(c *conn, durable ballast.LSN) {
	if !l.current(c) {
		return
	}
	l.state = streaming
	l.engine.step(replica.Connected{Node: l.peer.name, Stream: l.stream, Added: l.added, Durable: durable, Complete: true})
	if !l.current(c) {
		return
	}
	l.pump()
	if l.state == streaming {
		l.flush(l.engine.disk.last())
		l.commit(l.engine.leader.Committed())
	}
}

func (l *link) acked(c *conn, received, durable ballast.LSN) {
	if l.current(c) && l.state == streaming {
		l.engine.step(replica.Acked{Node: l.peer.name, Stream: l.stream, Received: received, Durable: durable})
	}
}

// pump sends what was not sent.
func (l *link) pump() {
	d := l.engine.disk
	if l.state != streaming || l.sent >= d.last() {
		return
	}
	if l.sent < d.base {
		l.engine.w.say(l.engine.node.name, "the log for %s is recycled", l.peer.name)
		l.drop(replica.Lost, 0)
		return
	}
	c, first, ids := l.conn, l.sent+1, slices.Clone(d.log[l.sent-d.base:])
	l.sent = d.last()
	c.send(0, func() { l.peer.follower.append(c, first, ids) })
}

func (l *link) flush(lsn ballast.LSN) {
	if l.state == streaming {
		c := l.conn
		c.send(0, func() { l.peer.follower.flush(c, lsn) })
	}
}

func (l *link) commit(lsn ballast.LSN) {
	if l.state == streaming && lsn > l.told {
		c := l.conn
		l.told = lsn
		c.send(0, func() { l.peer.follower.commit(c, lsn) })
	}
}

// fill sends chunks as of one committed record, which must not be before the last that
// both have in common.
func (l *link) fill() {
	e, d := l.engine, l.engine.disk
	m := replica.Meet(d.position(), l.theirs)
	at := max(min(e.leader.Committed(), d.last()), d.applied)
	if !d.complete || at < m.Since || !e.leader.MayFill(l.peer.name) {
		return
	}
	h := e.w.history
	to := d.id(at)
	s := staging{to: to, line: d.lineage, since: m.Since, full: m.Full}
	theirs := l.peer.disk.image // its table of chunks comes with its greeting
	c := l.conn
	var send []int
	kept := keptChunks(e, l.kept)
	for chunk, id := range h[to].content {
		switch {
		case l.kept != nil && kept(chunk, id):
			s.chunk[chunk] = l.kept.chunk[chunk]
			s.have |= 1 << chunk
			e.w.count.Resumed++
		case m.Full || h[id].lsn > m.Since || h[theirs[chunk]].lsn > m.Since:
			send = append(send, chunk)
		}
	}
	l.state, l.sent = filling, at
	begun := s
	c.send(0, func() { l.peer.follower.stage(c, begun) })
	l.sendChunks(c, to, send)
}

// keptChunks reports which chunks of an earlier filling still are as the leader has
// them: not changed since, in a history that both have.
func keptChunks(e *engine, kept *staging) func(int, recordID) bool {
	h := e.w.history
	if kept == nil {
		return nil
	}
	counts := replica.Counts(e.disk.position(), kept.line, h[kept.to].lsn)
	return func(chunk int, id recordID) bool {
		return kept.have&(1<<chunk) != 0 && h[kept.chunk[chunk]].lsn == h[id].lsn && h[id].lsn <= counts
	}
}

// sendChunks sends one after another, and then says that that was all.
func (l *link) sendChunks(c *conn, to recordID, chunks []int) {
	e := l.engine
	if !l.current(c) || l.state != filling {
		return
	}
	if len(chunks) == 0 {
		c.send(0, func() { l.peer.follower.staged(c) })
		return
	}
	chunk, id := chunks[0], e.w.history[to].content[chunks[0]]
	c.send(0, func() { l.peer.follower.chunk(c, chunk, id) })
	e.after(e.w.between(0, 8*ms), func() { l.sendChunks(c, to, chunks[1:]) })
}
