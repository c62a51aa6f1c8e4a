package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/stream"
	"github.com/ballast-io/ballast/internal/volume"
)

// addInSync does what an engine asks for once a copy has everything.
func addInSync(t *testing.T, n *node, name string, node ballast.NodeID) {
	t.Helper()
	rec, err := n.records.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(rec.Copies, node) {
		if rec, err = n.records.SetCopies(t.Context(), rec.ID, cluster.CopiesChange{Add: node}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.changeInSync(t.Context(), rec.ID, replica.Request{Change: replica.Change{Epoch: rec.Epoch, Revision: rec.Revision, Add: node}}); err != nil {
		t.Fatal(err)
	}
}

// A move waits for the copy there, then for containers, and takes the rest along.
func TestMove(t *testing.T) {
	m := newMachine()
	n, peers, _ := among(t, m)
	mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "docker:web")
	mustAttach(t, n, "db", "cli")
	mustAttach(t, n, "db", "cli")
	var said []string
	pause, err := n.Move(t.Context(), "db", "n2", func(step moveStep) error {
		if !slices.Contains(said, step.doing) {
			said = append(said, step.doing)
		}
		switch {
		case step.doing == "copying to n2":
			addInSync(t, n, "db", "n2")
		case len(step.holders) > 0:
			mustDetach(t, n, "db", "docker:web")
		}
		return nil
	})
	if err != nil || pause <= 0 {
		t.Fatalf("pause %v, %v", pause, err)
	}
	if want := []string{"copying to n2", "in sync on n2; waiting for containers to let go", "handing over"}; !slices.Equal(said, want) {
		t.Errorf("said %q; want %q", said, want)
	}
	if want := []string{"db for cli", "db for cli"}; !slices.Equal(peers.attached, want) {
		t.Errorf("attached there: %q; want %q", peers.attached, want)
	}
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A move that fails leaves the volume where it was, with who held it.
func TestMoveFails(t *testing.T) {
	for name, spoil := range map[string]func(m *machine, p *fakePeers){
		"there":      func(_ *machine, p *fakePeers) { p.set(func() { p.err["n2"] = errors.New("a test") }) },
		"unmounting": func(m *machine, _ *fakePeers) { m.set(func() { m.fail["detach"] = ballast.ErrInUse }) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			n, peers, _ := among(t, m)
			mustCreate(t, n, "db", nil)
			mustAttach(t, n, "db", "cli")
			addInSync(t, n, "db", "n2")
			spoil(m, peers)
			if _, err := n.Move(t.Context(), "db", "n2", func(moveStep) error { return nil }); err == nil {
				t.Fatal("moved")
			}
			m.set(func() { delete(m.fail, "detach") })
			if v, err := n.Inspect("db"); err != nil || v.state != stateAttached || !slices.Equal(v.holders, []string{"cli"}) {
				t.Errorf("%s, held by %v, %v", v.state, v.holders, err)
			}
		})
	}
}

func TestMoveRefused(t *testing.T) {
	n, _, _ := among(t, newMachine())
	mustCreate(t, n, "db", nil)
	if _, err := n.Move(t.Context(), "db", "n9", nil); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("to nobody = %v", err)
	}
	if _, err := n.records.SetDraining(t.Context(), "n3", true); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Move(t.Context(), "db", "n3", nil); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("to one that drains = %v", err)
	}
	mustAttach(t, n, "db", "cli")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := n.Move(ctx, "db", "n2", func(moveStep) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a copy there = %v", err)
	}
}

func at(epoch ballast.Epoch, last ballast.LSN) copyState {
	return copyState{Here: true, Epoch: epoch, State: replica.State{Lineage: volume.Lineage{{Epoch: epoch, From: 1}}, Last: last, Complete: true}}
}

// The plan of a failover: in sync first, then the newest; and what is lost is said.
func TestFailoverPlan(t *testing.T) {
	away := errors.New("away")
	partial := at(5, 100)
	partial.State.Complete = false
	for _, tt := range []struct {
		name   string
		all    []candidate
		asked  ballast.NodeID
		choice ballast.NodeID
		fails  bool
	}{
		{"in sync is best", []candidate{{node: "a", state: at(5, 9)}, {node: "b", state: at(4, 3), inSync: true}}, "", "b", false},
		{"the newest of stale ones", []candidate{{node: "a", state: at(4, 90)}, {node: "b", state: at(5, 3)}, {node: "c", inSync: true, err: away}}, "", "b", false},
		{"one that is asked for", []candidate{{node: "a", state: at(4, 90)}, {node: "b", state: at(5, 3)}}, "a", "a", false},
		{"never one that is not complete", []candidate{{node: "a", state: partial}, {node: "b", state: at(3, 1)}}, "", "b", false},
		{"one that is asked for and is not", []candidate{{node: "a", state: partial}, {node: "b", state: at(3, 1)}}, "a", "", true},
		{"none", []candidate{{node: "a", err: away}}, "", "", false},
		{"one that has none", []candidate{{node: "a", state: at(1, 1)}}, "z", "", true},
	} {
		plan := failoverPlan{candidates: tt.all}
		if err := plan.choose(tt.asked); (err != nil) != tt.fails || plan.choice != tt.choice || !tt.fails && plan.loses == "" {
			t.Errorf("%s: %q (%s), %v; want %q", tt.name, plan.choice, plan.loses, err, tt.choice)
		}
	}
}

// A copy that an earlier forced failover gave up is the last resort, and the plan says what comes back.
func TestFailoverPlanAfterForced(t *testing.T) {
	rec := cluster.Record{
		Forced: []cluster.Forced{{Node: "b", Epoch: 7, LSN: 5, By: "operator on b"}},
		Branch: replica.Branch{Epoch: 7, LSN: 5, Lineage: volume.Lineage{{Epoch: 1, From: 1}}},
	}
	onBranch, givenUp := at(7, 5), at(6, 90)
	onBranch.State.Lineage = volume.Lineage{{Epoch: 1, From: 1}, {Epoch: 7, From: 6}}
	givenUp.State.Lineage = volume.Lineage{{Epoch: 1, From: 1}, {Epoch: 6, From: 4}}
	for _, tt := range []struct {
		name     string
		all      []candidate
		choice   ballast.NodeID
		comeBack bool
	}{
		{"a copy of what counts is there", []candidate{{node: "a", state: givenUp}, {node: "b", state: onBranch}}, "b", false},
		{"only what was given up is there", []candidate{{node: "a", state: givenUp}}, "a", true},
	} {
		plan := failoverPlan{record: rec, candidates: tt.all}
		if err := plan.choose(""); err != nil || plan.choice != tt.choice || strings.Contains(plan.loses, "come back") != tt.comeBack {
			t.Errorf("%s: %q (%s), %v; want %q", tt.name, plan.choice, plan.loses, err, tt.choice)
		}
	}
}

func TestViewCopies(t *testing.T) {
	rec := cluster.Record{Primary: "n1", InSync: []ballast.NodeID{"n1", "n2", "n4"}, Copies: []ballast.NodeID{"n4", "n3", "n2", "n1", "n5"}}
	over := func(n ballast.NodeID) bool { return n == "n4" }
	status := &engine.Status{Copies: []stream.PeerStatus{
		{Node: "n2", State: stream.Streaming, LagBytes: 4096}, {Node: "n3", State: stream.Staging, Progress: 0.5}, {Node: "n4", State: stream.Connecting, Err: "no route"}}}
	status.Durable = 17
	var got []string
	for _, c := range viewCopies(rec, status, over) {
		got = append(got, string(c.node)+" "+c.state)
	}
	if want := []string{"n1 primary", "n2 in-sync", "n3 catching-up", "n4 away", "n5 waiting"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	rec.InSync = []ballast.NodeID{"n2"}
	if c := viewCopies(rec, nil, over)[0]; c.state != copyHydrating {
		t.Errorf("a primary without its chunks is %s", c.state)
	}
}
