package sim

import (
	"slices"
	"time"

	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/replica"
)

// trouble lets something go wrong, again and again.
func (w *world) trouble() {
	if w.calm {
		return
	}
	w.fault()
	w.after(w.between(w.pause/4, 2*w.pause), w.trouble)
}

func (w *world) fault() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if holder := w.nodes[w.desired]; w.oneIn(2) {
		n = holder
	}
	long := w.between(0, 3*w.lease)
	if w.oneIn(3) {
		long = w.between(0, w.patience)
	}
	if w.forced && w.oneIn(8) {
		w.outdate()
	}
	if w.forced && w.oneIn(8) {
		w.fork(w.nodes[w.desired])
	}
	if w.oneIn(12) {
		w.lose(w.nodes[w.desired])
	}
	if w.oneIn(30) {
		w.strand(w.nodes[w.desired])
	}
	if w.oneIn(20) {
		w.replaceCopy(w.nodes[w.rng.IntN(len(w.nodes))])
	}
	switch w.rng.IntN(20) {
	case 0, 1:
		w.cutLink(n.index, w.rng.IntN(len(w.nodes)), long, w.oneIn(2))
	case 2, 3:
		w.cutLink(n.index, store, long, w.oneIn(2))
	case 4:
		w.isolate(n, long)
		w.moveFrom(n)
	case 5:
		if w.etcd.up {
			w.say("etcd", "loses its quorum for %v", long)
			w.count.QuorumsLost++
			w.etcd.up = false
			w.after(long/2, func() { w.etcd.up = true })
		}
	case 6, 7:
		if n.engine != nil {
			w.say(n.name, "engine is killed")
			w.count.EnginesKilled++
			n.engine.kill()
		}
	case 8:
		n.killAgent(w.between(0, w.lease))
	case 9, 10:
		n.powerCut(long)
		w.moveFrom(n)
	case 11:
		if w.oneIn(4) {
			w.say("all", "power is cut")
			w.count.PowerCutsOfAll++
			for _, n := range w.nodes {
				n.powerCut(w.between(0, w.lease))
			}
		}
	case 12, 13:
		n.freeze(long)
		w.moveFrom(n)
	case 14:
		n.slow = w.between(0, 2*w.patience)
		w.after(long, func() { n.slow = 0 })
	case 15:
		w.say(n.name, "disk is full for %v", long)
		n.full = true
		w.after(long, func() { n.full = false })
	case 16, 17, 18:
		w.move()
	case 19:
		switch w.rng.IntN(4) {
		case 0:
			n.loseDisk()
		case 1:
			w.slowNet = w.between(0, 20*ms)
			w.after(long, func() { w.slowNet = 0 })
		case 2:
			w.addCopy()
		case 3:
			w.healAll()
		}
	}
}

// move wants the volume elsewhere, unless an operator is at it.
func (w *world) move() {
	if w.now < w.operator {
		return
	}
	w.desired = w.rng.IntN(len(w.nodes))
	w.say("all", "the volume is wanted on %s", nodeNames[w.desired])
}

// blackout takes down every node whose copy counts, for long, or lets it seem so: its engine may
// go on. Then the operator goes on from the best of what is left.
func (w *world) blackout() {
	if w.calm {
		return
	}
	for _, name := range w.etcd.record.InSync {
		n, long := w.nodes[slices.Index(nodeNames[:], name)], w.between(2*w.lease, 6*w.lease)
		if w.oneIn(3) {
			n.killAgent(long)
		} else {
			n.powerCut(long)
		}
	}
	w.operator = w.now + 4*w.lease
	w.after(w.between(0, w.lease/2), w.operate)
}

// outdate cuts a copy off until it does not count any more; then those that do are lost.
func (w *world) outdate() {
	copies := without(w.etcd.record.Copies, nodeNames[w.desired])
	if len(copies) == 0 {
		return
	}
	n := w.nodes[slices.Index(nodeNames[:], copies[w.rng.IntN(len(copies))])]
	for i := range w.nodes {
		w.cutLink(n.index, i, 3*w.patience+2*w.lease, true)
	}
	w.operator = w.now + 3*w.patience + w.lease
	w.after(w.between(2*w.patience, 3*w.patience), w.blackout)
}

// operate is an operator who wants the volume where the best copy is that is left, looks again when
// that was of no use, and puts up with what there is.
func (w *world) operate() {
	if w.calm || w.now >= w.operator {
		return
	}
	candidates := w.candidates()
	if best := replica.Choose(candidates, w.etcd.record.Branch); best >= 0 {
		w.desired = slices.Index(nodeNames[:], candidates[best].Node)
		w.say("all", "the operator wants the volume on %s", nodeNames[w.desired])
	}
	w.after(w.lease, w.operate)
}

// forkAgain loses the node of a copy that was forced, too, before others have what it wrote: what it
// set aside is back, perhaps, when the operator has to choose once more.
func (w *world) forkAgain(n *node) {
	if !w.oneIn(2) {
		return
	}
	w.operator = 0
	for i := range w.nodes {
		if !w.oneIn(3) {
			w.cutLink(n.index, i, w.between(w.lease, 4*w.lease), true)
		}
	}
	for _, o := range w.nodes {
		if o.agent.dead && w.oneIn(2) {
			w.after(w.between(0, w.lease), func() {
				if o.agent.dead {
					o.startAgent()
				}
			})
		}
	}
	w.after(w.between(w.lease/4, 2*w.lease), w.blackout)
}

// lose takes the writer's node away for long enough to be taken over from: its machine, its links, or
// its processes for a while.
func (w *world) lose(n *node) {
	long := w.between(2*w.lease, 4*w.lease)
	switch w.rng.IntN(3) {
	case 0:
		n.powerCut(long)
	case 1:
		w.isolate(n, long)
		w.cutLink(n.index, store, long, true)
	case 2:
		n.freeze(long)
	}
	if others := without(w.etcd.record.InSync, n.name); len(others) > 0 && w.oneIn(2) && w.now >= w.operator {
		w.desired = slices.Index(nodeNames[:], others[w.rng.IntN(len(others))])
		return
	}
	w.move()
}

// fork cuts the writer off with a tail that nobody acknowledges; the next one has written
// little when the copies that have it are lost: what is left is long and old, or short and new.
func (w *world) fork(n *node) {
	w.cutLink(n.index, store, 2*w.lease, true)
	for i := range w.nodes {
		w.cutLink(n.index, i, 2*w.lease, true)
	}
	others := without(w.etcd.record.InSync, n.name)
	if len(others) == 0 {
		return
	}
	next := slices.Index(nodeNames[:], others[w.rng.IntN(len(others))])
	w.desired = next
	w.after(w.between(w.lease, 2*w.lease), func() {
		for _, name := range without(w.etcd.record.Copies, nodeNames[next]) {
			w.cutLink(next, slices.Index(nodeNames[:], name), 2*w.patience, true)
		}
	})
	w.operator = w.now + 3*w.lease
	w.after(w.between(2*w.lease, 3*w.lease), w.blackout)
}

// candidates are the copies on nodes that are up.
func (w *world) candidates() (all []replica.Candidate) {
	for _, o := range w.nodes {
		if !o.agent.dead && !o.agent.stopped && o.disk.exists {
			all = append(all, replica.Candidate{Node: o.name, State: o.disk.durably()})
		}
	}
	return all
}

// strand cuts a node off for longer than its lease; etcd it reaches first again.
func (w *world) strand(n *node) {
	w.cutLink(n.index, store, w.between(w.lease, 2*w.lease), true)
	for i := range w.nodes {
		w.cutLink(n.index, i, 4*w.lease, true)
	}
	w.move()
}

// moveFrom perhaps wants the volume elsewhere, because its node is in trouble.
func (w *world) moveFrom(n *node) {
	if n.index == w.desired && w.oneIn(2) {
		w.move()
	}
}

func (w *world) cutLink(a, b int, long time.Duration, both bool) {
	if a == b || w.calm {
		return
	}
	w.say("net", "link %d-%d is cut for %v, both ways: %v", a+1, b+1, long, both)
	if w.count.LinksCut++; !both {
		w.count.OneWay++
	}
	w.cut[a][b] = true
	w.cut[b][a] = w.cut[b][a] || both
	w.after(long, func() { w.cut[a][b], w.cut[b][a] = false, false })
}

// isolate cuts a node off from all others, and perhaps from etcd.
func (w *world) isolate(n *node, long time.Duration) {
	for i := range w.nodes {
		w.cutLink(n.index, i, long, true)
	}
	if w.oneIn(2) {
		w.cutLink(n.index, store, long, true)
	}
}

func (w *world) healAll() { w.cut = [maxNodes + 1][maxNodes + 1]bool{} }

// addCopy wants one copy more.
func (w *world) addCopy() {
	name := nodeNames[w.rng.IntN(len(w.nodes))]
	if next, err := cluster.DecideCopies(w.etcd.record, cluster.CopiesChange{Add: name}); err == nil && w.etcd.up {
		w.etcd.put(next)
	}
}

// replaceCopy gives a copy up, and soon places one there again: perhaps before the leader has
// read of it, or heard that what it streams to is gone.
func (w *world) replaceCopy(n *node) {
	next, err := cluster.DecideCopies(w.etcd.record, cluster.CopiesChange{Drop: n.name})
	if !w.etcd.up || err != nil {
		return
	}
	w.etcd.put(next)
	w.count.Replaced++
	n.agent.after(w.latency(), n.look)
	if w.oneIn(2) {
		w.cutLink(n.index, w.desired, w.between(0, w.lease), false)
	}
	w.after(w.between(0, w.lease/4), func() { w.placeCopy(n) })
}

// placeCopy has a copy placed: placement asks until it is.
func (w *world) placeCopy(n *node) {
	if !w.etcd.up {
		w.after(100*ms, func() { w.placeCopy(n) })
		return
	}
	if next, err := cluster.DecideCopies(w.etcd.record, cluster.CopiesChange{Add: n.name}); err == nil {
		w.etcd.put(next)
	}
}

func (n *node) killAgent(long time.Duration) {
	if n.agent.dead {
		return
	}
	n.w.say(n.name, "agent is killed for %v", long)
	n.w.count.AgentsKilled++
	n.agent.kill()
	life := n.agent.life
	n.w.after(long, func() {
		if n.agent.life == life && n.agent.dead {
			n.startAgent()
		}
	})
}

// powerCut takes a machine down, with what its disk had not synced.
func (n *node) powerCut(long time.Duration) {
	n.w.say(n.name, "power is cut for %v", long)
	n.w.count.PowerCuts++
	if n.engine != nil {
		n.engine.kill()
		n.engine = nil
	}
	n.disk.powerCut()
	n.lease = lease{}
	n.killAgent(long)
}

// freeze stops processes for a while; then they go on.
func (n *node) freeze(long time.Duration) {
	both := n.w.rng.IntN(3)
	n.w.count.Stopped++
	n.w.say(n.name, "stops for %v: %s", long, []string{"agent", "engine", "both"}[both])
	if both != 1 {
		n.agent.stop()
		n.w.after(long, n.agent.resume)
	}
	if e := n.engine; e != nil && both != 0 {
		e.stop()
		n.w.after(long, e.resume)
	}
}

// loseDisk destroys a copy, as long as what was acknowledged is on another that counts:
// more is not promised.
func (n *node) loseDisk() {
	w := n.w
	if !n.disk.exists {
		return
	}
	r := w.etcd.record
	for _, name := range r.InSync {
		o := w.nodes[slices.Index(nodeNames[:], name)]
		if o != n && o.disk.exists && o.disk.complete || !counts(r, n.name) {
			w.say(n.name, "disk is lost")
			w.count.DisksLost++
			n.powerCut(w.between(0, w.lease))
			n.disk.destroy()
			n.disk.lost = true
			return
		}
	}
}

// mayForce reports whether the operator has a node go on without what was acknowledged:
// no copy that has it is up, and this is the newest that is.
func (w *world) mayForce(n *node, r record, c cluster.ClaimRequest) bool {
	if !w.forced || w.calm || !n.disk.exists || !n.disk.complete || r.Epoch == 0 || !w.oneIn(2) {
		return false
	}
	if r.Primary != "" && !slices.Contains(c.Over, r.Primary) {
		return false
	}
	for _, o := range w.nodes {
		if !o.agent.dead && !o.agent.stopped && counts(r, o.name) {
			return false
		}
	}
	candidates := w.candidates()
	best := replica.Choose(candidates, r.Branch)
	if best < 0 || candidates[best].Node != n.name {
		return false
	}
	w.checker.chosen(n, candidates)
	n.follower.end() // its files are opened and synced before it is said where they stand
	n.disk.synced = n.disk.last()
	return true
}

// calmDown ends all trouble.
func (w *world) calmDown() {
	w.say("all", "nothing goes wrong any more")
	w.calm = true
	w.healAll()
	w.etcd.up, w.slowNet = true, 0
	for _, n := range w.nodes {
		n.slow, n.full = 0, false
		n.agent.resume()
		if n.engine != nil {
			n.engine.resume()
		}
		if n.agent.dead {
			n.startAgent()
		}
	}
}
