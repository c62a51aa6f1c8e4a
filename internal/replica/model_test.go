package replica

import (
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// The model: three nodes, every order in which anything can happen, up to bounds. What the
// leader commits and asks for, what ends its doubts, what a follower takes and cuts, is decided by
// the code of this package. A lease is a bit that can go at any time, and comes back only
// when the record still says so; claims of others need it gone.

const modelNodes = 3

// modelBounds are what the model goes up to.
type modelBounds struct {
	lsn, epoch, revision, crashes uint8
}

// modelNode is a node: its copy, its lease and, if it leads, what it knows as the leader.
type modelNode struct {
	log           [3]uint8 // the epoch of each record
	last, durable uint8
	stored        uint8 // epoch
	follows       uint8 // epoch; 0: nobody
	leads         uint8 // epoch; 0: not
	lapsed        bool

	view, revision         uint8 // in sync, as a set, and of which revision
	add, remove, over      uint8 // asked for: node+1, and over which revision
	connected              uint8
	known                  [modelNodes]uint8
	opened, committed, ack uint8
}

// modelSwap is a compare-and-swap on its way.
type modelSwap struct{ epoch, add, remove, over uint8 }

// modelState is everything.
type modelState struct {
	nodes                            [modelNodes]modelNode
	epoch, primary, inSync, revision uint8 // the record; primary is a node+1
	swaps                            [modelNodes]modelSwap
	acked, ackedRecord, ackedBy      uint8 // the LSN, its record's epoch, and the epoch that said so last
	crashes                          uint8
}

var modelNames = [modelNodes]ballast.NodeID{"n1", "n2", "n3"}

// modelRuns are the bounds that are exhausted in each run of the tests: 565,397 states and 830,032, in 15 s of one
// core. BALLAST_MODEL has others, such as 2,3,4,1, exhausted instead.
var modelRuns = []modelBounds{{lsn: 1, epoch: 3, revision: 4, crashes: 1}, {lsn: 2, epoch: 2, revision: 3, crashes: 1}}

// TestModel visits every state that can be reached, and asks in each of them for R1, R2,
// R3, R8, G1 and G3.
func TestModel(t *testing.T) {
	runs := modelRuns
	if testing.Short() || raceEnabled {
		runs = []modelBounds{{lsn: 1, epoch: 2, revision: 3, crashes: 1}} // 68,405 states
	}
	if text := os.Getenv("BALLAST_MODEL"); text != "" {
		var b modelBounds
		if _, err := fmt.Sscanf(text, "%d,%d,%d,%d", &b.lsn, &b.epoch, &b.revision, &b.crashes); err != nil || b.lsn > 3 {
			t.Fatalf("BALLAST_MODEL=%s: want the bounds of LSNs (3 at most), epochs, revisions and crashes, as 2,3,4,1", text)
		}
		runs = []modelBounds{b}
	}
	for _, bounds := range runs {
		m := explore(bounds)
		t.Logf("%d states, %d steps between them, up to %d steps from the first (%+v)", m.states, m.steps, m.depth, bounds)
		if m.wrong != "" {
			t.Fatalf("%s:\n%s", m.wrong, strings.Join(m.story, "\n"))
		}
		if m.acks == 0 || m.claims == 0 || m.changes == 0 {
			t.Errorf("acknowledged %d, claimed %d, changed %d; want some of each", m.acks, m.claims, m.changes)
		}
	}
}

// model is a search through all states, the nearest first.
type model struct {
	modelBounds
	seen                  map[uint64]struct{}
	from                  []modelStep
	states, steps, depth  int
	acks, claims, changes int
	at                    int // which state is looked at
	next                  []modelAt
	wrong                 string
	story                 []string
}

// modelStep is how a state was reached first.
type modelStep struct {
	parent int32
	what   modelAction
	who    uint8
	whom   uint8
}

type modelAt struct {
	modelState
	index int
}

var modelSeed = maphash.MakeSeed()

func explore(b modelBounds) *model {
	m := &model{modelBounds: b, seen: map[uint64]struct{}{}, from: []modelStep{{parent: -1}}}
	first := modelState{inSync: 0b011, revision: 1}
	m.seen[first.key()] = struct{}{}
	for level := []modelAt{{first, 0}}; len(level) > 0 && m.wrong == ""; m.depth++ {
		m.next = nil
		for _, s := range level {
			if m.at = s.index; m.wrong == "" {
				m.visit(s.modelState)
			}
		}
		level = m.next
	}
	m.states = len(m.from)
	return m
}

// to notes a state that follows from the present one.
func (m *model) to(what modelAction, who, whom int, s modelState) {
	m.steps++
	key := s.key()
	if _, ok := m.seen[key]; ok || m.wrong != "" {
		return
	}
	m.seen[key] = struct{}{}
	m.from = append(m.from, modelStep{int32(m.at), what, uint8(who), uint8(whom)})
	m.next = append(m.next, modelAt{s, len(m.from) - 1})
}

// fail notes what is wrong, and how it came to be.
func (m *model) fail(format string, args ...any) {
	if m.wrong != "" {
		return
	}
	m.wrong = fmt.Sprintf(format, args...)
	for i := m.at; i > 0; i = int(m.from[i].parent) {
		step := m.from[i]
		m.story = append(m.story, fmt.Sprintf("%s %s %s", modelNames[step.who], step.what, modelNames[step.whom]))
	}
	slices.Reverse(m.story)
}

type modelAction string

// key is one number for a state and for all in which the nodes are only named otherwise: what is
// possible for one node is for every other, so the six ways to name them are one.
func (s *modelState) key() (key uint64) {
	for i := range modelNamings {
		if k := s.hash(&modelNamings[i]); i == 0 || k < key {
			key = k
		}
	}
	return key
}

// modelNaming is a way to name the nodes.
type modelNaming struct {
	node [modelNodes]uint8      // by which name each goes
	was  [modelNodes]uint8      // whose name each is
	some [1 << modelNodes]uint8 // a set of nodes, by their names
	one  [modelNodes + 1]uint8  // a node+1, by its name; nobody is nobody
}

var modelNamings = allNamings()

func allNamings() (all []modelNaming) {
	for _, node := range [][modelNodes]uint8{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		n := modelNaming{node: node}
		for i, name := range node {
			n.was[name], n.one[i+1] = uint8(i), name+1
			for set := range n.some {
				n.some[set] |= uint8(set) >> i & 1 << name
			}
		}
		all = append(all, n)
	}
	return all
}

func (s *modelState) hash(by *modelNaming) uint64 {
	var buf [128]byte
	b := append(buf[:0], s.epoch, by.one[s.primary], by.some[s.inSync], s.revision, s.acked, s.ackedRecord, s.ackedBy, s.crashes)
	for _, i := range by.was {
		n, w := &s.nodes[i], &s.swaps[i]
		b = append(b, n.log[:]...)
		b = append(b, n.last, n.durable, n.stored, n.follows, n.leads, 0, by.some[n.view], n.revision,
			by.one[n.add], by.one[n.remove], n.over, by.some[n.connected],
			n.known[by.was[0]], n.known[by.was[1]], n.known[by.was[2]], n.opened, n.committed, n.ack,
			w.epoch, by.one[w.add], by.one[w.remove], w.over)
		if n.lapsed {
			b[len(b)-17] = 1
		}
	}
	return maphash.Bytes(modelSeed, b)
}

// visit takes every step that is possible in a state.
func (m *model) visit(s modelState) {
	for i := range modelNodes {
		m.visitNode(s, i)
		if s.nodes[i].leads == 0 {
			continue
		}
		m.visitLeader(s, i)
		for j := range modelNodes {
			if j != i {
				m.visitPair(s, i, j)
			}
		}
	}
}

// visitNode: power, leases, claims, swaps that arrive or are lost.
func (m *model) visitNode(s modelState, i int) {
	n := &s.nodes[i]
	if s.crashes < m.crashes && (n.leads != 0 || n.follows != 0 || n.last > n.durable) {
		m.to("loses power, as well as", i, i, s.powerCut(i))
	}
	if counts := s.inSync&(1<<i) != 0 || n.leads != 0 || s.primary == uint8(i+1); !n.lapsed && counts {
		next := s
		next.nodes[i].lapsed = true
		m.to("has no lease any more", i, i, next)
	} else if n.lapsed && (n.leads == 0 || n.leads == s.epoch) {
		next := s
		next.nodes[i].lapsed = false
		m.to("has a lease again", i, i, next)
	}
	if n.leads == 0 && s.epoch < m.epoch && s.revision < m.revision {
		m.claim(s, i)
	}
	if n.leads == s.epoch && s.primary == uint8(i+1) && s.revision < m.revision {
		next := s
		next.primary, next.revision = 0, s.revision+1
		next.nodes[i].resign()
		m.to("releases", i, i, next)
	}
	if w := s.swaps[i]; w != (modelSwap{}) {
		next := s
		next.swaps[i] = modelSwap{}
		m.to("loses a swap of", i, i, next)
		if w.epoch == s.epoch && w.over == s.revision && s.primary != 0 && s.revision < m.revision {
			m.changes++
			next.revision++
			if w.add != 0 {
				next.inSync |= 1 << (w.add - 1)
			} else {
				next.inSync &^= 1 << (w.remove - 1)
			}
			m.checkInSync(next)
			m.to("swaps the record for", i, i, next)
		}
	}
}

func (s modelState) powerCut(i int) modelState {
	n := &s.nodes[i]
	s.crashes++
	for n.last > n.durable {
		n.last--
		n.log[n.last] = 0
	}
	n.follows, n.lapsed = 0, true
	n.resign()
	return s
}

// resign forgets all that a leader knows.
func (n *modelNode) resign() {
	*n = modelNode{log: n.log, last: n.last, durable: n.durable, stored: n.stored, follows: n.follows, lapsed: n.lapsed}
}

// claim is what cluster.DecideClaim decides for a copy that counts.
func (m *model) claim(s modelState, i int) {
	me := uint8(1) << i
	held := s.primary != 0 && s.primary != uint8(i+1) && !s.nodes[s.primary-1].lapsed
	if held || s.inSync&me == 0 {
		return
	}
	m.claims++
	for j := range modelNodes {
		if j != i && s.nodes[j].lapsed {
			s.inSync &^= 1 << j
		}
	}
	s.epoch++
	s.revision++
	s.primary = uint8(i + 1)
	n := &s.nodes[i]
	n.durable, n.stored, n.follows, n.lapsed = n.last, s.epoch, 0, false
	n.leads, n.opened, n.view, n.revision = s.epoch, n.last, s.inSync, s.revision
	m.checkLeader(s, i)
	m.checkInSync(s)
	m.to("claims", i, i, s)
}

// visitLeader: writing, syncing, reading the record, answering, asking.
func (m *model) visitLeader(s modelState, i int) {
	n := s.nodes[i]
	if n.last < m.lsn {
		next := s
		w := &next.nodes[i]
		w.log[w.last] = w.leads
		w.last++
		m.to("writes", i, i, next)
	}
	if n.durable < n.last {
		next := s
		next.nodes[i].durable = n.last
		m.to("syncs", i, i, next)
	}
	l := s.leader(i)
	l.adopt(s.members())
	next := s
	next.nodes[i].note(l)
	m.to("reads the record", i, i, next)
	m.answer(s, i)
	m.ask(s, i)
	if n.add|n.remove != 0 && s.swaps[i] == (modelSwap{}) {
		next := s
		next.swaps[i] = modelSwap{n.leads, n.add, n.remove, n.over}
		m.to("asks again", i, i, next)
	}
}

// answer commits what the leader decides, and acknowledges it if the gate is open.
func (m *model) answer(s modelState, i int) {
	l := s.leader(i)
	l.commit()
	n := &s.nodes[i]
	if n.committed = uint8(l.Committed()); n.lapsed && l.Shared() || n.committed == n.ack {
		return
	}
	n.ack = n.committed
	m.acks++
	if n.leads < s.ackedBy {
		m.fail("epoch %d acknowledges after epoch %d", n.leads, s.ackedBy)
	}
	s.ackedBy = n.leads
	if n.committed >= s.acked {
		if !s.has(i, false) {
			m.fail("epoch %d acknowledges %d without what was acknowledged before", n.leads, n.committed)
		}
		if s.acked = n.committed; s.acked > 0 {
			s.ackedRecord = n.log[s.acked-1]
		}
	}
	m.checkInSync(s)
	m.to("acknowledges", i, i, s)
}

// ask asks for every change that the leader's rules allow.
func (m *model) ask(s modelState, i int) {
	n := s.nodes[i]
	if n.add|n.remove != 0 || s.swaps[i] != (modelSwap{}) || n.revision >= m.revision {
		return
	}
	l := s.leader(i)
	for k := range l.peers {
		p := &l.peers[k]
		j := uint8(slices.Index(modelNames[:], p.node))
		next := s
		w := &next.nodes[i]
		w.over = n.revision
		switch {
		case !p.inSync && p.connected && p.durable >= l.bar():
			w.add = j + 1
		case p.inSync && len(l.members.InSync)-1 >= l.leastWithout(p):
			w.remove = j + 1
		default:
			continue
		}
		next.swaps[i] = modelSwap{w.leads, w.add, w.remove, w.over}
		m.to("asks to change", i, int(j), next)
	}
}

// visitPair: a leader's stream to another copy.
func (m *model) visitPair(s modelState, i, j int) {
	leader, n := &s.nodes[i], &s.nodes[j]
	if Takes(ballast.Epoch(n.stored), ballast.Epoch(leader.leads)) && n.leads < leader.leads {
		m.connect(s, i, j)
	}
	if n.follows != leader.leads || !Takes(ballast.Epoch(n.stored), ballast.Epoch(n.follows)) {
		return
	}
	if n.last < leader.last {
		next := s
		w := &next.nodes[j]
		w.log[w.last] = leader.log[w.last]
		w.last++
		m.to("sends a record to", i, j, next)
	}
	if n.durable < n.last {
		next := s
		next.nodes[j].durable = n.last
		m.to("has its record synced by", i, j, next)
	}
	if leader.connected&(1<<j) != 0 && leader.known[j] < n.durable {
		next := s
		next.nodes[i].known[j] = n.durable
		m.to("hears from", i, j, next)
	}
	if n.last > leader.last || n.log != prefix(leader.log, n.last) {
		m.fail("%s follows epoch %d and has another history", modelNames[j], leader.leads)
	}
}

func prefix(log [3]uint8, last uint8) (p [3]uint8) {
	copy(p[:last], log[:last])
	return p
}

// connect has a copy follow: it stores the epoch, and cuts.
func (m *model) connect(s modelState, i, j int) {
	leader, n := &s.nodes[i], &s.nodes[j]
	if n.leads != 0 {
		n.resign() // its agent has heard of the claim
	}
	meeting := Meet(
		Position{Lineage: leader.lineage(), Last: ballast.LSN(leader.last), Oldest: 1},
		State{Lineage: n.lineage(), Last: ballast.LSN(n.last), Complete: true})
	n.stored, n.follows = leader.leads, leader.leads
	for n.last > uint8(meeting.Cut) {
		n.last--
		n.log[n.last] = 0
	}
	n.durable = n.last
	leader.connected |= 1 << j
	leader.known[j] = n.last
	m.checkInSync(s)
	m.to("is followed by", i, j, s)
}

func (n *modelNode) lineage() (l volume.Lineage) {
	for i, epoch := range n.log[:n.last] {
		if l.Epoch() != ballast.Epoch(epoch) {
			l = append(l, volume.Reign{Epoch: ballast.Epoch(epoch), From: ballast.LSN(i + 1)})
		}
	}
	return l
}

// leader returns the leader that a node is, with what it knows.
func (s *modelState) leader(i int) *Leader {
	n := &s.nodes[i]
	l := NewLeader(LeaderConfig{Node: modelNames[i], Epoch: ballast.Epoch(n.leads)}, members(n.leads, i, n.view, n.revision), Position{Last: ballast.LSN(n.opened)})
	l.last, l.durable, l.committed = ballast.LSN(n.last), ballast.LSN(n.durable), ballast.LSN(n.committed)
	l.near, l.nearNext = l.bar(), l.bar()
	for k := range l.peers {
		p := &l.peers[k]
		j := slices.Index(modelNames[:], p.node)
		p.connected, p.complete = n.connected&(1<<j) != 0, true
		p.durable = ballast.LSN(n.known[j])
	}
	if n.add != 0 {
		l.change.asked.Add = modelNames[n.add-1]
	}
	if n.remove != 0 {
		l.change.asked.Remove = modelNames[n.remove-1]
	}
	l.change.asked.Revision = int64(n.over)
	l.change.doubt = n.add|n.remove != 0
	return l
}

// note takes over what a leader has learnt from the record.
func (n *modelNode) note(l *Leader) {
	if l.fenced {
		n.resign()
		return
	}
	n.view, n.revision = 0, uint8(l.members.Revision)
	for _, name := range l.members.InSync {
		n.view |= 1 << slices.Index(modelNames[:], name)
	}
	if l.change.asked == (Change{}) {
		n.add, n.remove, n.over = 0, 0, 0
	}
}
