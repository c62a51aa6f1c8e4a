package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
)

// watch keeps the time that copies let writers wait.
func (l *Leader) watch(now time.Duration) {
	for i := range l.peers {
		p := &l.peers[i]
		p.owing.set(l.required(p) && (!p.connected || p.durable < l.due(p)), now)
		p.inSyncFor.set(p.inSync && p.connected, now)
		if p.inSyncFor.over(2*p.hold, now) {
			p.hold = 0
		}
		if p.joining && l.change.asked.Add != p.node && (!p.connected || p.owing.over(l.cfg.Patience, now)) {
			p.joining = false // nobody was asked yet: it simply is not added
			p.removed(now, l.cfg.Patience)
		}
	}
	l.sayStalled(now)
	if l.stranded.set(l.isStranded(), now); l.stranded.over(l.cfg.Patience, now) {
		l.fence(l.cfg.Epoch, "the copy that this one was filled from does not count any more, and those that do lack what it began with; attached again, it begins with one of them")
	}
}

// isStranded reports whether this copy lacks chunks that nobody who counts can give: all of them would
// have to be filled themselves first. Nothing was acknowledged then.
func (l *Leader) isStranded() bool {
	counting := 0
	for i := range l.peers {
		if p := &l.peers[i]; p.inSync {
			if counting++; p.stream == 0 || p.complete {
				return false
			}
		}
	}
	return counting > 0 && !l.complete && !l.selfInSync()
}

// due is the LSN that somebody waits for p to have.
func (l *Leader) due(p *peer) (lsn ballast.LSN) {
	if l.wanted > l.committed {
		lsn = l.wanted
	}
	if p.joining {
		lsn = max(lsn, l.bar())
	}
	return lsn
}

// bar is what a copy must have to be added: all that may have been acknowledged, which
// at first is all that the log held when it was opened (R3).
func (l *Leader) bar() ballast.LSN {
	switch {
	case seeded(addEarly):
		return l.near
	case seeded(addBehindOpening):
		return l.committed
	}
	return max(l.committed, l.opened)
}

// join begins to require copies that have nearly all that is committed, so that
// they can get to have all of it: while writers flush without them, they never would.
func (l *Leader) join(now time.Duration) {
	for i := range l.peers {
		p := &l.peers[i]
		if !p.joining && l.mayJoin(p, now) && p.durable >= l.near {
			p.joining = true
		}
	}
	l.commit()
}

// mayJoin reports whether p can be brought in sync. Without a session there is no lease
// yet by which this writer would stop, once another can claim.
func (l *Leader) mayJoin(p *peer, now time.Duration) bool {
	return p.connected && p.complete && !p.inSync && now >= p.outUntil && l.members.Session != 0 && l.holds(p)
}

func (l *Leader) holds(p *peer) bool {
	for _, c := range l.members.Copies {
		if c.Node == p.node {
			return true
		}
	}
	return false
}

// ask asks for the change that is due, one at a time.
func (l *Leader) ask(now time.Duration) {
	c := &l.change
	if c.pending || now < c.retryAt {
		return
	}
	want := c.asked // of which nobody knows: ask again until somebody does
	if !c.doubt {
		want = l.wantedChange(now)
	}
	if want == (Change{}) {
		return
	}
	c.asked, c.pending = want, true
	l.effects = append(l.effects, Ask{want})
}

// wantedChange decides which change of the in-sync set comes next.
func (l *Leader) wantedChange(now time.Duration) Change {
	for i := range l.peers {
		if p := &l.peers[i]; l.mustGo(p, now) {
			p.removed(now, l.cfg.Patience)
			return l.changeOf(Change{Remove: p.node, Lost: p.lost(), Reason: l.complaint(p)})
		}
	}
	if l.complete && !l.selfInSync() {
		return l.changeOf(Change{Add: l.cfg.Node, Reason: "all its chunks are here"})
	}
	for i := range l.peers {
		if p := &l.peers[i]; p.joining && p.durable >= l.bar() { // R3
			return l.changeOf(Change{Add: p.node, Reason: "it has all that is committed"})
		}
	}
	return Change{}
}

func (l *Leader) changeOf(c Change) Change {
	c.Epoch, c.Revision = l.cfg.Epoch, l.members.Revision
	return c
}

// mustGo reports whether an in-sync copy keeps writers waiting for too long, and may be
// removed: enough others are left, and one of them is here or can be reached (R7).
func (l *Leader) mustGo(p *peer, now time.Duration) bool {
	if !p.inSync || !p.gone() && !p.owing.over(l.cfg.Patience, now) {
		return false
	}
	if len(l.members.InSync)-1 < l.leastWithout(p) {
		return false
	}
	return l.selfInSync() || l.anotherConnected(p)
}

// leastWithout is how many in-sync copies must be left without p. One that lost its
// files does not have every acknowledged write, whatever min_copies says: it must be
// taken out before it is filled, or it would be taken for whole at the point that it is filled to.
func (l *Leader) leastWithout(p *peer) int {
	switch {
	case seeded(removeLast):
		return 0
	case p.lost() || seeded(removeBelowMinCopies):
		return 1
	}
	return max(1, l.members.MinCopies)
}

// MayFill reports whether a copy that needs chunks may be brought to some point now: once it is
// known not to count. Until then it would be whole, and in sync, and behind.
func (l *Leader) MayFill(node ballast.NodeID) bool {
	p := l.peer(node)
	return p != nil && !p.inSync && l.change.asked.Add != node || seeded(fillInSync)
}

func (l *Leader) anotherConnected(than *peer) bool {
	for i := range l.peers {
		if p := &l.peers[i]; p != than && p.inSync && p.connected {
			return true
		}
	}
	return false
}

func (l *Leader) selfInSync() bool {
	return slices.Contains(l.members.InSync, l.cfg.Node)
}

// failed notes that a change was not made, or may not have been.
func (l *Leader) failed(now time.Duration, e ChangeFailed) {
	c := &l.change
	if e.Change != c.asked || !c.pending {
		return
	}
	c.pending, c.retryAt = false, now+l.cfg.Patience/10
	c.doubt = c.doubt || e.Unknown && !seeded(unknownIsNo)
	if !c.doubt {
		c.asked = Change{}
	}
}

// sayStalled says when writers wait for longer than the patience, and when no longer.
func (l *Leader) sayStalled(now time.Duration) {
	before := l.waiting.running
	l.waiting.set(l.wanted > l.committed, now)
	if before && !l.waiting.running && l.stalled != "" {
		l.stalled = ""
		l.effects = append(l.effects, Resumed{})
	}
	if !l.waiting.over(l.cfg.Patience, now) {
		return
	}
	if why := l.obstacle(now); why != "" && why != l.stalled {
		l.stalled = why
		l.effects = append(l.effects, Stalled{why})
	}
}

// obstacle says what writers wait for.
func (l *Leader) obstacle(now time.Duration) string {
	if have, want := len(l.members.InSync), l.members.MinCopies; have < want {
		return fmt.Sprintf("%d of its copies are in sync, and min_copies wants %d", have, want)
	}
	for i := range l.peers {
		if p := &l.peers[i]; l.required(p) && p.owing.over(l.cfg.Patience, now) {
			return l.complaint(p)
		}
	}
	if l.durable < l.wanted {
		return "the disk of this node has not answered"
	}
	return ""
}

// complaint says what is wrong with a copy.
func (l *Leader) complaint(p *peer) string {
	if !p.connected {
		return fmt.Sprintf("%s cannot be reached: %s", p.node, p.reason)
	}
	if !p.complete {
		return fmt.Sprintf("%s has lost its copy", p.node)
	}
	return fmt.Sprintf("%s has not acknowledged for %s", p.node, l.cfg.Patience)
}
