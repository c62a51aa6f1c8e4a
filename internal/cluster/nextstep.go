package cluster

import (
	"cmp"
	"slices"

	"github.com/ballast-io/ballast"
)

// NodeState is what is to be known of a node to decide who holds etcd.
type NodeState struct {
	Name     ballast.NodeID
	Address  string // host:port
	Alive    bool   // its session stands
	Gone     bool   // it has been away for so long that another takes its place
	Draining bool
}

// MembersView is what [NextStep] looks at.
type MembersView struct {
	Nodes   []NodeState
	Members []Member
	Leader  uint64 // the member that decides
	Most    int    // members there may be; 0: [MostMembers]
}

// MostMembers is how many members of etcd there are at most.
const MostMembers = 5

// StepKind is what to do next about who holds etcd.
type StepKind int

// The steps.
const (
	StepNone     StepKind = iota
	StepUpdate            // the member is reached elsewhere now
	StepAdd               // a node begins to hold etcd, without a vote
	StepPromote           // a member gets its vote
	StepRemove            // a member goes
	StepTransfer          // another member leads, because this one is to go
)

func (k StepKind) String() string {
	return [...]string{"nothing", "update", "add", "promote", "remove", "transfer"}[k]
}

// Step is what to do next about who holds etcd. Member is zero for [StepAdd].
type Step struct {
	Kind   StepKind
	Member uint64
	Node   ballast.NodeID
	URL    string
	Why    string
}

// WantedMembers returns how many members of etcd there shall be on so many nodes: an
// even number survives no more losses than the odd one below it.
func WantedMembers(nodes, most int) int {
	if most <= 0 {
		most = MostMembers
	}
	want := 1
	switch {
	case nodes >= 5:
		want = 5
	case nodes >= 3:
		want = 3
	}
	if want > most {
		want = max(1, most-(most+1)%2)
	}
	return want
}

// NextStep decides the next change of who holds etcd, one at a time (C10): what has to go
// goes first, then learners come, and they get votes when enough of them have started
// for the number of votes to be odd again.
func NextStep(v MembersView) Step {
	for _, decide := range []func(MembersView) Step{stepStray, stepUpdate, stepShrink, stepReplace, stepGrow, stepPromote} {
		if s := decide(v); s.Kind != StepNone {
			return s
		}
	}
	return Step{}
}

// stepStray removes the member of a node that was removed; the leader's last, which is
// there to vote while the others may not be.
func stepStray(v MembersView) Step {
	var last Step
	for _, m := range v.Members {
		if _, known := v.nodeOf(m); known {
			continue
		}
		s := v.remove(m, "its node was removed")
		if s.Kind == StepRemove {
			return s
		}
		if s.Kind != StepNone {
			last = s
		}
	}
	return last
}

func stepUpdate(v MembersView) Step {
	for _, m := range v.Members {
		n, _ := v.nodeOf(m)
		if url := memberURLOf(n.Address); n.Address != "" && m.URL != url {
			return Step{Kind: StepUpdate, Member: m.ID, Node: n.Name, URL: url, Why: "it is reached at " + n.Address}
		}
	}
	return Step{}
}

// stepShrink removes one member that is too many; of those that have a vote one that is
// away, else one that drains, and the leader last.
func stepShrink(v MembersView) Step {
	if len(v.Members) <= v.wanted() {
		return Step{}
	}
	order := slices.Clone(v.Members)
	slices.SortStableFunc(order, func(a, b Member) int { return cmp.Compare(v.worth(a), v.worth(b)) })
	for _, m := range order {
		if s := v.remove(m, "there are more members than are wanted"); s.Kind != StepNone {
			return s
		}
	}
	return Step{}
}

// worth says whom to keep, of members of which one has to go.
func (v MembersView) worth(m Member) int {
	n, _ := v.nodeOf(m)
	switch {
	case m.Learner:
		return 0
	case !n.Alive && m.ID != v.Leader:
		return 1
	case n.Draining:
		return 2
	case m.ID == v.Leader:
		return 4
	}
	return 3
}

// stuck reports whether the leader is to go and nobody else that votes could take over:
// one more member has to come first.
func (v MembersView) stuck() bool {
	for _, m := range v.Members {
		if n, known := v.nodeOf(m); m.ID == v.Leader && (!known || n.Draining) {
			return v.remove(m, "").Kind == StepNone
		}
	}
	return false
}

// wanted is how many members there shall be for now.
func (v MembersView) wanted() int {
	want := WantedMembers(len(v.Nodes), v.Most)
	if !v.stuck() {
		return want
	}
	votes := 0
	for _, m := range v.Members {
		if !m.Learner {
			votes++
		}
	}
	return max(want, votes) + 1
}

// stepReplace removes a member whose node stays away or drains, when another node can
// take its place and all others that have a vote are there.
func stepReplace(v MembersView) Step {
	if len(v.spare()) == 0 {
		return Step{}
	}
	for _, m := range v.Members {
		n, _ := v.nodeOf(m)
		if m.Learner && n.Gone && !n.Alive {
			return v.remove(m, "its node stays away, and had no vote yet")
		}
		if (n.Gone && !n.Alive || n.Draining) && v.othersAlive(m) {
			return v.remove(m, "its node stays away or drains, and another takes its place")
		}
	}
	return Step{}
}

func stepGrow(v MembersView) Step {
	spare := v.spare()
	if len(spare) == 0 || len(v.Members) >= v.wanted() {
		return Step{}
	}
	return Step{Kind: StepAdd, Node: spare[0].Name, URL: memberURLOf(spare[0].Address), Why: "more members are wanted"}
}

// stepPromote gives a learner its vote. Two votes are worse than one: the loss of
// either ends all changes. So the first of two gets it only when the other is there.
func stepPromote(v MembersView) Step {
	votes, ready := 0, []Member(nil)
	for _, m := range v.Members {
		n, _ := v.nodeOf(m)
		switch {
		case !m.Learner:
			votes++
		case m.Started && n.Alive:
			ready = append(ready, m)
		}
	}
	if len(ready) == 0 || votes%2 == 1 && len(ready) < 2 && !v.stuck() {
		return Step{}
	}
	return Step{Kind: StepPromote, Member: ready[0].ID, Node: ready[0].Node, Why: "it has started"}
}

// remove removes a member, which the leader can do of any other.
func (v MembersView) remove(m Member, why string) Step {
	if m.ID != v.Leader && !v.mayRemove(m) {
		return Step{} // others have to go first, or to come back
	}
	if m.ID != v.Leader {
		return Step{Kind: StepRemove, Member: m.ID, Node: m.Node, Why: why}
	}
	for _, other := range v.Members {
		if n, _ := v.nodeOf(other); other.ID != v.Leader && !other.Learner && n.Alive && !n.Draining {
			return Step{Kind: StepTransfer, Member: other.ID, Node: other.Node, Why: why}
		}
	}
	return Step{} // nobody could take over: it stays
}

// mayRemove reports whether most of those that vote may be there without a member, of
// which it is not known that it is away. Nothing is known of removed nodes: etcd, which
// sees whether they answer, has the last word.
func (v MembersView) mayRemove(m Member) bool {
	if n, known := v.nodeOf(m); m.Learner || known && !n.Alive {
		return true
	}
	votes, there := 0, 0
	for _, other := range v.Members {
		if other.Learner || other.ID == m.ID {
			continue
		}
		votes++
		if n, known := v.nodeOf(other); !known || n.Alive || other.ID == v.Leader {
			there++
		}
	}
	return there*2 > votes
}

// spare are the nodes that could hold etcd and do not, in order of their names.
func (v MembersView) spare() []NodeState {
	var spare []NodeState
	for _, n := range v.Nodes {
		holds := slices.ContainsFunc(v.Members, func(m Member) bool { at, ok := v.nodeOf(m); return ok && at.Name == n.Name })
		if !holds && n.Alive && !n.Draining && n.Address != "" {
			spare = append(spare, n)
		}
	}
	slices.SortFunc(spare, func(a, b NodeState) int { return cmp.Compare(a.Name, b.Name) })
	return spare
}

func (v MembersView) othersAlive(m Member) bool {
	return !slices.ContainsFunc(v.Members, func(other Member) bool {
		n, _ := v.nodeOf(other)
		return other.ID != m.ID && !other.Learner && !n.Alive
	})
}

// nodeOf finds a member's node: by name, or by its URL before it has started.
func (v MembersView) nodeOf(m Member) (NodeState, bool) {
	for _, n := range v.Nodes {
		if m.Node == n.Name && m.Node != "" {
			return n, true
		}
	}
	for _, n := range v.Nodes {
		if m.Node == "" && n.Address != "" && m.URL == memberURLOf(n.Address) {
			return n, true
		}
	}
	return NodeState{}, false
}
