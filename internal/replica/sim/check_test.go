package sim

import (
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// checker looks at everything that happens, and knows all of it.
type checker struct {
	w        *world
	head     recordID      // the newest record that was acknowledged
	epoch    ballast.Epoch // of the newest acknowledgement
	quiet    bool          // the application rests
	operator bool          // somebody forced a failover: what it lost is lost
	since    ballast.Epoch // that this began: who was set aside, and does not know, may go on for himself
}

// acked: what is acknowledged continues all that was before; none follows one of a
// later epoch (G3); it is on every copy that counts (R1).
func (c *checker) acked(e *engine, lsn ballast.LSN) {
	id := e.disk.id(max(lsn, e.disk.base))
	if lsn < e.disk.base || e.epoch < c.since {
		return // an earlier flush was answered with a later one
	}
	w := c.w
	w.count.Acks++
	if !w.calm {
		w.count.FaultAcks++
	}
	w.say(e.node.name, "acknowledges %d under %v", lsn, e.epoch)
	c.answered(e)
	switch {
	case w.history.continues(id, c.head):
		c.head = id
	case !w.history.continues(c.head, id):
		w.fail("acknowledged lsn %d (%v) on %s does not continue what was acknowledged, lsn %d (%v)",
			lsn, w.history[id].epoch, e.node.name, w.history[c.head].lsn, w.history[c.head].epoch)
	}
	c.epoch = max(c.epoch, e.epoch)
	c.recordChanged()
}

// answered: one writer (G3).
func (c *checker) answered(e *engine) {
	if e.epoch < c.epoch && !c.operator {
		c.w.fail("%s answers under %v after an answer under %v", e.node.name, e.epoch, c.epoch)
	}
}

// read: what is read has all that was acknowledged.
func (c *checker) read(e *engine) {
	c.w.count.Reads++
	c.answered(e)
	if !c.w.history.continues(e.disk.lastID(), c.head) && !c.operator {
		c.w.fail("%s reads without lsn %d, which was acknowledged", e.node.name, c.w.history[c.head].lsn)
	}
}

// recordChanged: every copy that the record calls in sync has all that was
// acknowledged, durably.
func (c *checker) recordChanged() {
	w := c.w
	for _, name := range w.etcd.record.InSync {
		d := &w.nodes[slices.Index(nodeNames[:], name)].disk
		if d.lost || c.operator {
			continue // a lost disk
		}
		if head := w.history[c.head].lsn; head > max(d.synced, d.base) || head >= d.base && d.id(head) != c.head {
			w.fail("%s is in sync, durable to %d, and lacks lsn %d, which was acknowledged", name, d.synced, head)
		}
	}
}

// committed: nothing that is committed is ever contradicted, nor commits who has heard of a
// later writer.
func (c *checker) committed(e *engine, lsn ballast.LSN) {
	h := c.w.history
	if e.overtaken {
		c.w.fail("%s commits lsn %d under %v, and was told of a later epoch", e.node.name, lsn, e.epoch)
	}
	for id := e.disk.id(max(lsn, e.disk.base)); !h[id].committed; id = h[id].prev {
		h[id].committed = true
	}
}

// folding: nothing but what is committed gets into an image (V3, R5).
func (c *checker) folding(_ *files, id recordID) {
	if !c.w.history[id].committed {
		c.w.fail("a copy folds lsn %d (%v), which is not committed", c.w.history[id].lsn, c.w.history[id].epoch)
	}
}

// cutting: nothing that is committed is cut.
func (c *checker) cutting(_ *files, id recordID) {
	if c.w.history[id].committed && !c.operator {
		c.w.fail("a copy cuts lsn %d (%v), which is committed", c.w.history[id].lsn, c.w.history[id].epoch)
	}
}

// leading: who leads has all that was acknowledged (G1, G2). One that was stopped between
// its claim and its opening may begin when its epoch is over, and then never answers.
func (c *checker) leading(f *files) {
	h := c.w.history
	if f.epoch == c.w.etcd.record.Epoch && !h.continues(f.lastID(), c.head) && !c.operator {
		c.w.fail("a leader begins at lsn %d (%v) without lsn %d (%v), which was acknowledged", h[f.lastID()].lsn, h[f.lastID()].epoch, h[c.head].lsn, h[c.head].epoch)
	}
}

// whole: a copy is byte-identical at its LSN (G4, R6, R8).
func (c *checker) whole(f *files, when string) {
	if !f.complete {
		return
	}
	if got, want := f.view(), c.w.history[f.lastID()].content; got != want {
		c.w.fail("a copy that was %s is not what it should be at lsn %d: %v instead of %v", when, f.last(), got, want)
	}
	for i := 1; i < len(f.log); i++ {
		if c.w.history[f.log[i]].prev != f.log[i-1] {
			c.w.fail("a copy's log has lsn %d of another history", c.w.history[f.log[i]].lsn)
		}
	}
}

// forced begins anew with what the operator chose.
func (c *checker) forced(n *node, epoch ballast.Epoch) {
	c.operator, c.since = true, epoch
	c.head = c.acknowledgedIn(n)
}

// acknowledgedIn returns the newest record that was acknowledged and that a copy has.
func (c *checker) acknowledgedIn(n *node) recordID {
	h := c.w.history
	id := n.disk.id(max(n.disk.synced, n.disk.base)) // a power cut may take the rest
	for !h.continues(c.head, id) {
		id = h[id].prev
	}
	return id
}

// chosen: none of the copies that the operator could go on from has more of what was
// acknowledged in the history that counts (R9), as far as lineages go back: a copy that has
// forgotten where it left that history is taken last.
func (c *checker) chosen(n *node, among []replica.Candidate) {
	h := c.w.history
	branch := c.w.etcd.record.Branch
	if branch.SetAside(n.disk.state()) {
		c.w.count.BackToSetAside++
	}
	has := h[c.acknowledgedIn(n)].lsn
	for _, o := range among {
		other := c.w.nodes[slices.Index(nodeNames[:], o.Node)]
		if branch.SetAside(o.State) {
			c.w.count.SetAside++
		}
		_, known := branch.Lineage.Common(branch.LSN, o.State.Lineage, o.State.Last)
		if more := h[c.acknowledgedIn(other)].lsn; o.State.Complete && known && more > has {
			c.w.fail("the operator goes on from %s, which has %d of what was acknowledged, and %s has %d: %+v", n.name, has, o.Node, more, among)
		}
	}
}

// asked: no copy is asked to be removed that min_copies wants, unless it has nothing (R7).
func (c *checker) asked(e *engine, change replica.Change) {
	m := e.leader.Members()
	if least := max(1, m.MinCopies); change.Remove != "" && !change.Lost && len(m.InSync)-1 < least {
		c.w.fail("%s asks to remove %s, which leaves fewer than %d in sync", e.node.name, change.Remove, least)
	}
}

// settled reports whether everything is as it should be when nothing goes wrong.
func (c *checker) settled() bool {
	w := c.w
	n := w.nodes[w.desired]
	if n.engine == nil || n.engine.dead || len(n.engine.flushes) > 0 || len(w.etcd.record.InSync) != len(w.etcd.record.Copies) {
		return false
	}
	last := n.engine.disk.last()
	if n.engine.leader.Committed() != last {
		return false
	}
	for _, name := range w.etcd.record.InSync {
		if d := &w.nodes[slices.Index(nodeNames[:], name)].disk; d.synced != last || !d.complete {
			return false
		}
	}
	return true
}

// beyond reports whether every copy that counts was lost with its disk: one that
// was whole, but away, was taken out before. Then nothing is attached, but by force.
func (c *checker) beyond() bool {
	return !slices.ContainsFunc(c.w.etcd.record.InSync, func(name ballast.NodeID) bool {
		return !c.w.nodes[slices.Index(nodeNames[:], name)].disk.lost
	})
}

// identical: in the end all copies are the same.
func (c *checker) identical() {
	w := c.w
	want := w.nodes[w.desired].disk.lastID()
	for _, name := range w.etcd.record.InSync {
		d := &w.nodes[slices.Index(nodeNames[:], name)].disk
		if d.lastID() != want {
			w.fail("%s ends with another history than the leader", name)
		}
		c.whole(d, "settled")
	}
	if !w.history.continues(want, c.head) {
		w.fail("the end lacks lsn %d, which was acknowledged", w.history[c.head].lsn)
	}
}
