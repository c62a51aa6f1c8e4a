package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
)

func TestWantedMembers(t *testing.T) {
	for _, tt := range []struct{ nodes, most, want int }{
		{0, 0, 1}, {1, 0, 1}, {2, 0, 1}, {3, 0, 3}, {4, 0, 3}, {5, 0, 5}, {9, 0, 5},
		{9, 3, 3}, {9, 4, 3}, {9, 2, 1}, {9, 1, 1}, {3, 1, 1}, {1, 5, 1},
	} {
		if got := WantedMembers(tt.nodes, tt.most); got != tt.want {
			t.Errorf("%d nodes, at most %d: %d members; want %d", tt.nodes, tt.most, got, tt.want)
		}
	}
}

func TestNextStep(t *testing.T) {
	up := func(names ...string) (all []NodeState) {
		for _, name := range names {
			all = append(all, NodeState{Name: ballast.NodeID(name), Address: name + ":1", Alive: true})
		}
		return all
	}
	member := func(id uint64) Member {
		name := fmt.Sprint("n", id)
		return Member{ID: id, Node: ballast.NodeID(name), URL: "https://" + name + ":1", Started: true}
	}
	learner := func(m Member) Member { m.Learner = true; return m }
	unstarted := func(m Member) Member { m.Learner, m.Started, m.Node = true, false, ""; return m }
	alone := Member{ID: 1, Node: "n1", URL: memberURL, Started: true}
	with := func(nodes []NodeState, i int, change func(*NodeState)) []NodeState {
		change(&nodes[i])
		return nodes
	}
	away := func(n *NodeState) { n.Alive = false }
	gone := func(n *NodeState) { n.Alive, n.Gone = false, true }
	drains := func(n *NodeState) { n.Draining = true }
	for _, tt := range []struct {
		name    string
		nodes   []NodeState
		members []Member
		kind    StepKind
		member  uint64
		node    ballast.NodeID
	}{
		{"alone", up("n1"), []Member{member(1)}, StepNone, 0, ""},
		{"alone, reached now", up("n1"), []Member{alone}, StepUpdate, 1, "n1"},
		{"two nodes", up("n1", "n2"), []Member{member(1)}, StepNone, 0, ""},
		{"three nodes", up("n1", "n2", "n3"), []Member{member(1)}, StepAdd, 0, "n2"},
		{"one was added", up("n1", "n2", "n3"), []Member{member(1), unstarted(member(2))}, StepAdd, 0, "n3"},
		{"two were added", up("n1", "n2", "n3"), []Member{member(1), unstarted(member(2)), unstarted(member(3))}, StepNone, 0, ""},
		{"one has started", up("n1", "n2", "n3"), []Member{member(1), learner(member(2)), unstarted(member(3))}, StepNone, 0, ""},
		{"both have started", up("n1", "n2", "n3"), []Member{member(1), learner(member(2)), learner(member(3))}, StepPromote, 2, "n2"},
		{"one has its vote", up("n1", "n2", "n3"), []Member{member(1), member(2), learner(member(3))}, StepPromote, 3, "n3"},
		{"three", up("n1", "n2", "n3", "n4"), []Member{member(1), member(2), member(3)}, StepNone, 0, ""},
		{"a third node that is away", with(up("n1", "n2", "n3"), 2, away), []Member{member(1), learner(member(2))}, StepNone, 0, ""},
		{"a member was removed", up("n1", "n2", "n4", "n5"), []Member{member(1), member(2), member(3)}, StepRemove, 3, "n3"},
		{"a member is away", with(up("n1", "n2", "n3", "n4"), 1, away), []Member{member(1), member(2), member(3)}, StepNone, 0, ""},
		{"a member stays away", with(up("n1", "n2", "n3", "n4"), 1, gone), []Member{member(1), member(2), member(3)}, StepRemove, 2, "n2"},
		{"a member stays away, and nobody is spare", with(up("n1", "n2", "n3"), 1, gone), []Member{member(1), member(2), member(3)}, StepNone, 0, ""},
		{"a member stays away, and another is away", with(with(up("n1", "n2", "n3", "n4", "n5"), 1, gone), 2, away), []Member{member(1), member(2), member(3)}, StepAdd, 0, "n4"},
		{"a member drains", with(up("n1", "n2", "n3", "n4"), 2, drains), []Member{member(1), member(2), member(3)}, StepRemove, 3, "n3"},
		{"the leader drains", with(up("n1", "n2", "n3", "n4"), 0, drains), []Member{member(1), member(2), member(3)}, StepTransfer, 2, "n2"},
		{"the leader was removed", up("n2", "n3"), []Member{member(1), member(2), member(3)}, StepTransfer, 2, "n2"},
		{"the only member drains", with(up("n1", "n2"), 0, drains), []Member{member(1)}, StepAdd, 0, "n2"},
		{"the only member drains, another has started", with(up("n1", "n2"), 0, drains), []Member{member(1), learner(member(2))}, StepPromote, 2, "n2"},
		{"the only member drains, another votes", with(up("n1", "n2"), 0, drains), []Member{member(1), member(2)}, StepTransfer, 2, "n2"},
		{"the only member was removed", up("n2"), []Member{member(1)}, StepAdd, 0, "n2"},
		{"all drain", with(with(up("n1", "n2"), 0, drains), 1, drains), []Member{member(1)}, StepNone, 0, ""},
		{"two are left of three", up("n1", "n2"), []Member{member(1), member(2)}, StepRemove, 2, "n2"},
		{"too many, one is away", with(up("n1", "n2", "n3", "n4"), 3, away), []Member{member(1), member(2), member(3), member(4)}, StepRemove, 4, "n4"},
		{"a learner is away", with(up("n1", "n2", "n3", "n4"), 1, away), []Member{member(1), unstarted(member(2)), learner(member(3))}, StepNone, 0, ""},
		{"a learner stays away", with(up("n1", "n2", "n3", "n4"), 1, gone), []Member{member(1), unstarted(member(2))}, StepRemove, 2, ""},
		{"a node moved", with(up("n1", "n2", "n3"), 1, func(n *NodeState) { n.Address = "n2:2" }), []Member{member(1), member(2), member(3)}, StepUpdate, 2, "n2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := NextStep(MembersView{Nodes: tt.nodes, Members: tt.members, Leader: 1})
			if got.Kind != tt.kind || got.Member != tt.member || got.Node != tt.node {
				t.Errorf("step %+v; want %s of %d on %q", got, tt.kind, tt.member, tt.node)
			}
		})
	}
}

// C10: whatever nodes and members there are, the steps come to an end at as many votes
// as are wanted of the nodes that are there; the members that vote never lose their
// majority on the way, where they had one; and a removed node votes no more.
func TestStepsComeToAnEnd(t *testing.T) {
	start := seed(t)
	for run := range uint64(5000) {
		random := rand.New(rand.NewPCG(start, run))
		v := randomMembers(random)
		steps := 0
		for ; steps < 50; steps++ {
			s := NextStep(v)
			if s.Kind == StepNone {
				break
			}
			had := v.majority()
			v = v.after(s)
			if had && !v.majority() {
				t.Fatalf("run %d: after %+v most of those that vote are away: %+v", run, s, v)
			}
			for i := range v.Members { // what was added starts
				if n, ok := v.nodeOf(v.Members[i]); ok && n.Alive {
					v.Members[i].Started, v.Members[i].Node = true, n.Name
				}
			}
		}
		if steps == 50 {
			t.Fatalf("run %d: no end of steps: %+v", run, v)
		}
		votes := 0
		for _, m := range v.Members {
			if n, known := v.nodeOf(m); !known && v.able() && v.allThere() || known && n.Draining && m.ID == v.Leader && len(v.spare()) > 0 && v.othersAlive(m) {
				t.Fatalf("run %d: in the end %+v is a member, which was removed, or leads and drains: %+v", run, m, v)
			}
			if !m.Learner {
				votes++
			}
		}
		if want := WantedMembers(len(v.Nodes), v.Most); votes > want && v.able() && v.allThere() {
			t.Fatalf("run %d: in the end %d vote; want %d at most: %+v", run, votes, want, v)
		} else if v.alive() == len(v.Nodes) && votes != want {
			t.Fatalf("run %d: in the end %d vote of nodes that are all there; want %d: %+v", run, votes, want, v)
		}
	}
}

func randomMembers(random *rand.Rand) MembersView {
	var v MembersView
	for i := range 1 + random.IntN(7) {
		n := NodeState{Name: ballast.NodeID(fmt.Sprint("n", i)), Address: fmt.Sprintf("n%d:1", i), Alive: i == 0 || random.IntN(4) > 0}
		n.Gone, n.Draining = !n.Alive && random.IntN(2) == 0, random.IntN(5) == 0
		v.Nodes = append(v.Nodes, n)
	}
	v.Leader = 100
	if len(v.Nodes) > 1 && random.IntN(5) == 0 { // the leader's was removed
		v.Nodes = v.Nodes[1:]
	}
	for i := range 1 + random.IntN(5) {
		name := fmt.Sprint("n", i)
		m := Member{ID: 100 + uint64(i), Node: ballast.NodeID(name), URL: "https://" + name + ":1", Started: true}
		m.Learner = i > 0 && random.IntN(4) == 0
		v.Members = append(v.Members, m)
	}
	return v
}

// able reports whether some node can hold etcd.
func (v MembersView) able() bool { return v.alive() > 0 }

// allThere reports whether all members are there whose node was not removed. While one is
// away, another may have to stay that would go.
func (v MembersView) allThere() bool {
	for _, m := range v.Members {
		if n, known := v.nodeOf(m); known && !n.Alive {
			return false
		}
	}
	return true
}

// alive counts the nodes that can hold etcd.
func (v MembersView) alive() (count int) {
	for _, n := range v.Nodes {
		if n.Alive && !n.Draining {
			count++
		}
	}
	return count
}

func (v MembersView) majority() bool {
	votes, there := 0, 0
	for _, m := range v.Members {
		if m.Learner {
			continue
		}
		votes++
		if n, ok := v.nodeOf(m); ok && n.Alive || m.ID == 100 { // who led at first is there, removed or not
			there++
		}
	}
	return there*2 > votes
}

func (v MembersView) after(s Step) MembersView {
	var next []Member
	for _, m := range v.Members {
		switch {
		case m.ID != s.Member:
		case s.Kind == StepRemove:
			continue
		case s.Kind == StepPromote:
			m.Learner = false
		case s.Kind == StepUpdate:
			m.URL = s.URL
		}
		next = append(next, m)
	}
	if s.Kind == StepAdd {
		next = append(next, Member{ID: 1000 + uint64(len(next)) + v.Leader*7, URL: s.URL, Learner: true})
	}
	if s.Kind == StepTransfer {
		v.Leader = s.Member
	}
	v.Members = next
	return v
}
