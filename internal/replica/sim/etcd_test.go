package sim

import (
	"time"

	"github.com/ballast-io/ballast"
)

// session is the key of a node's session.
type session struct {
	revision int64
	number   uint64
}

// etcd is a linearizable store. A request reaches it or not, at once or much later;
// so does its answer.
type etcd struct {
	w        *world
	up       bool
	revision int64
	record   record
	sessions [maxNodes]session
	leader   ballast.NodeID // who claimed last
}

func (e *etcd) init(w *world) {
	*e = etcd{w: w, up: true, revision: 1}
	e.record = firstRecord(w.copies, w.minCopies)
}

// put stores a record that was decided on.
func (e *etcd) put(r record) {
	e.revision++
	r.Revision = e.revision
	e.w.say("etcd", "record %d: %v of %v, in sync %v, copies %v", r.Revision, r.Epoch, r.Primary, r.InSync, r.Copies)
	e.record = r
	e.w.checker.recordChanged()
}

func (e *etcd) renew(node int, number uint64) {
	e.revision++
	e.sessions[node] = session{e.revision, number}
}

const store = maxNodes // its place in world.cut

// ask carries a request to the store, where op runs once or never, and then done with
// whether its answer came back in time. If not, op may run still.
func (e *etcd) ask(n *node, timeout time.Duration, op func(), done func(answered bool)) {
	w := e.w
	over := false
	finish := func(answered bool) {
		if !over {
			over = true
			done(answered)
		}
	}
	agent, life := &n.agent, n.agent.life
	reply := func() {
		w.after(w.latency(), func() {
			if !w.cut[store][n.index] {
				agent.do(life, func() { finish(true) })
			}
		})
	}
	var arrive func()
	arrive = func() {
		switch {
		case w.cut[n.index][store]:
		case !e.up:
			if w.oneIn(3) {
				w.after(w.between(50*ms, 2000*ms), arrive) // a proposal that waits for a quorum
			}
		default:
			op()
			if over {
				w.count.LateSwaps++
			}
			reply()
		}
	}
	delay := w.latency()
	if !w.calm && w.oneIn(60) {
		delay = w.between(0, 2*w.lease)
	}
	w.after(delay, arrive)
	agent.after(timeout, func() { finish(false) })
}
