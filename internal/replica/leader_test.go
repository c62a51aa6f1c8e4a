package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

func membersOf(revision int64, inSync ...ballast.NodeID) Members {
	return Members{
		Revision: revision, Epoch: 2, Primary: "n1", InSync: inSync, MinCopies: 1, Session: 1,
		Copies: []Peer{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}},
	}
}

func newTestLeader(m Members) *Leader {
	return NewLeader(LeaderConfig{Node: "n1", Epoch: 2, Patience: 3 * time.Second}, m, Position{Last: 10})
}

func hasEffect[E comparable](effects []Effect, want E) bool {
	return slices.ContainsFunc(effects, func(e Effect) bool { got, ok := e.(E); return ok && got == want })
}

// R1: nothing is committed without every in-sync copy.
func TestCommitWaitsForEveryInSyncCopy(t *testing.T) {
	l := newTestLeader(membersOf(5, "n1", "n2", "n3"))
	l.Step(0, Durable{LSN: 12})
	l.Step(0, Connected{Node: "n2", Stream: 1, Durable: 12, Complete: true})
	if got := l.Step(0, Connected{Node: "n3", Stream: 1, Durable: 11, Complete: true}); !hasEffect(got, Commit{LSN: 11}) {
		t.Errorf("effects = %v; want Commit 11", got)
	}
	if got := l.Step(0, Acked{Node: "n3", Stream: 1, Received: 12, Durable: 12}); !hasEffect(got, Commit{LSN: 12}) {
		t.Errorf("effects = %v; want Commit 12", got)
	}
}

// R2: a copy that was asked to be removed is required until the record says so.
func TestRemovedCopyIsRequiredUntilItIsKnown(t *testing.T) {
	l := newTestLeader(membersOf(5, "n1", "n2"))
	l.Step(0, Durable{LSN: 12})
	l.Step(0, Flushed{LSN: 12})
	got := l.Step(3*time.Second, Tick{})
	want := Change{Epoch: 2, Revision: 5, Remove: "n2", Reason: "n2 cannot be reached: connection lost"}
	if !hasEffect(got, Ask{want}) {
		t.Fatalf("effects = %v; want Ask %v", got, want)
	}
	if got := l.Step(3*time.Second, ChangeFailed{Change: want, Unknown: true}); len(got) != 0 {
		t.Errorf("effects of an unknown outcome = %v; want none", got)
	}
	if got := l.Step(4*time.Second, MembersRead{membersOf(5, "n1", "n2")}); !hasEffect(got, Ask{want}) {
		t.Errorf("effects = %v; want the same asked again", got)
	}
	if got := l.Step(4*time.Second, MembersRead{membersOf(6, "n1")}); !hasEffect(got, Commit{LSN: 12}) {
		t.Errorf("effects = %v; want Commit 12", got)
	}
}

// R2: a change whose outcome is unknown may be made long after the record was read. Only
// a later revision says that it will not be.
func TestDoubtEndsWithALaterRevisionOnly(t *testing.T) {
	l := newTestLeader(membersOf(5, "n1"))
	got := l.Step(0, Connected{Node: "n2", Stream: 1, Durable: 10, Complete: true})
	add := Change{Epoch: 2, Revision: 5, Add: "n2", Reason: "it has all that is committed"}
	if !hasEffect(got, Ask{add}) {
		t.Fatalf("effects = %v; want Ask %v", got, add)
	}
	l.Step(0, ChangeFailed{Change: add, Unknown: true})
	l.Step(0, MembersRead{membersOf(5, "n1")})
	l.Step(0, Disconnected{Node: "n2", Stream: 1})
	if got := l.Step(0, Durable{LSN: 12}); hasEffect(got, Commit{LSN: 12}) {
		t.Error("committed without a copy that may be in sync")
	}
	l.Step(10*time.Second, ChangeFailed{Change: add})
	if got := l.Step(10*time.Second, MembersRead{membersOf(6, "n1")}); !hasEffect(got, Commit{LSN: 12}) {
		t.Errorf("effects = %v; want Commit 12", got)
	}
}

// R3: what the log held when it was opened may have been acknowledged by an earlier
// writer, so a copy without it is not asked to be added.
func TestCopyIsAddedOnlyWithAllThatMayBeCommitted(t *testing.T) {
	l := newTestLeader(membersOf(5, "n1"))
	if got := l.Step(0, Connected{Node: "n2", Stream: 1, Durable: 9, Complete: true}); len(got) != 0 && !hasEffect(got, Commit{LSN: 10}) {
		t.Errorf("effects = %v; want no Ask", got)
	}
	if got := l.Step(0, Acked{Node: "n2", Stream: 1, Received: 10, Durable: 10}); len(got) == 0 {
		t.Error("no effects; want Ask")
	}
}

// R3: what a copy said counts for nothing once it was given up, even if another one was placed
// on its node before the leader read the record.
func TestCopyPlacedAgainStartsFromNothing(t *testing.T) {
	l := newTestLeader(membersOf(5, "n1"))
	l.Step(0, Connected{Node: "n2", Stream: 1, Durable: 9, Complete: true})
	again := membersOf(7, "n1")
	again.Copies = []Peer{{Node: "n1"}, {Node: "n2", Added: 6}, {Node: "n3"}}
	for _, e := range []Event{
		MembersRead{again},
		Acked{Node: "n2", Stream: 1, Received: 10, Durable: 10},
		Connected{Node: "n2", Stream: 2, Durable: 10, Complete: true}, // begun before the record was read
	} {
		for _, effect := range l.Step(0, e) {
			if ask, ok := effect.(Ask); ok {
				t.Errorf("%#v: asked for %v; the earlier copy was given up", e, ask.Change)
			}
		}
	}
	want := Ask{Change{Epoch: 2, Revision: 7, Add: "n2", Reason: "it has all that is committed"}}
	if got := l.Step(0, Connected{Node: "n2", Stream: 3, Added: 6, Durable: 10, Complete: true}); !hasEffect(got, want) {
		t.Errorf("effects = %v; want %v", got, want)
	}
}

// R7: the last in-sync copy is never removed, nor one of the last min_copies.
func TestEnoughCopiesStayInSync(t *testing.T) {
	for _, tt := range []struct {
		name   string
		inSync []ballast.NodeID
		min    int
		want   int
	}{
		{"one of two", []ballast.NodeID{"n1", "n2"}, 1, 1},
		{"one of two, two wanted", []ballast.NodeID{"n1", "n2"}, 2, 0},
		{"the last one, this one is hollow", []ballast.NodeID{"n2"}, 1, 0},
		{"the source of a hollow one, no other can be reached", []ballast.NodeID{"n2", "n3"}, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := membersOf(5, tt.inSync...)
			m.MinCopies = tt.min
			l := newTestLeader(m)
			l.complete = slices.Contains(tt.inSync, "n1")
			asked := 0
			l.Step(0, Durable{LSN: 11})
			l.Step(0, Flushed{LSN: 11})
			for _, e := range l.Step(time.Minute, Tick{}) {
				if _, ok := e.(Ask); ok {
					asked++
				}
			}
			if asked != tt.want {
				t.Errorf("asked for %d changes; want %d", asked, tt.want)
			}
		})
	}
}

// A copy that lost its files is taken out, whatever min_copies says, and filled only then.
func TestLostCopyIsRemovedBeforeItIsFilled(t *testing.T) {
	m := membersOf(5, "n1", "n2")
	m.MinCopies = 2
	l := newTestLeader(m)
	got := l.Step(0, Connected{Node: "n2", Stream: 1})
	if want := (Change{Epoch: 2, Revision: 5, Remove: "n2", Lost: true, Reason: "n2 has lost its copy"}); !hasEffect(got, Ask{want}) {
		t.Errorf("effects = %v; want Ask %v", got, want)
	}
	if l.MayFill("n2") {
		t.Error("it may be filled while it counts")
	}
	if l.Step(0, MembersRead{membersOf(6, "n1")}); !l.MayFill("n2") {
		t.Error("it may not be filled when it does not count")
	}
}

func TestFencedLeaderCommitsNothing(t *testing.T) {
	l := newTestLeader(membersOf(5, "n1"))
	later := membersOf(6, "n2")
	later.Epoch, later.Primary = 3, "n2"
	if got := l.Step(0, MembersRead{later}); len(got) != 1 {
		t.Fatalf("effects = %v; want Fenced alone", got)
	}
	if got := l.Step(0, Durable{LSN: 11}); len(got) != 0 {
		t.Errorf("effects after that = %v; want none", got)
	}
}
