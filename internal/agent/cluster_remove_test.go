package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
)

// clusterOfThree returns a node whose records name two others, of which nothing is heard.
func clusterOfThree(t *testing.T) *node {
	t.Helper()
	n, _ := testNode(t, newMachine(), t.TempDir())
	eventually(t, "the records", func() bool { ready, _ := n.records.Ready(); return ready })
	for _, name := range []ballast.NodeID{"n1", "n2", "n3"} {
		if _, err := n.records.PutNode(t.Context(), cluster.Node{Name: name, Address: string(name) + ".example:7420"}); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// adoptCopies takes in a record that says where copies are, of a detached volume.
func adoptCopies(t *testing.T, n *node, name string, inSync, copies []ballast.NodeID) {
	t.Helper()
	rec := cluster.Record{ID: cluster.NewVolumeID(), Name: name, Spec: ballast.DefaultVolumeSpec(), Epoch: 3, InSync: inSync, Copies: copies}
	if _, err := n.records.Adopt(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
}

func TestRemoveNodeRefuses(t *testing.T) {
	n := clusterOfThree(t)
	adoptCopies(t, n, "safe", []ballast.NodeID{"n1", "n2"}, []ballast.NodeID{"n1", "n2"})
	for _, tt := range []struct {
		name string
		node ballast.NodeID
		is   error
		says string
	}{
		{"a node that is not there", "n9", ballast.ErrNotFound, "no node"},
		{"itself", "n1", ballast.ErrInvalid, "does not remove itself; type this on another one, such as n2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := n.RemoveNode(t.Context(), tt.node, true); !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("RemoveNode = %v; want %v that says %q", err, tt.is, tt.says)
			}
		})
	}
	adoptCopies(t, n, "only", []ballast.NodeID{"n3"}, []ballast.NodeID{"n3"})
	_, err := n.RemoveNode(t.Context(), "n3", false)
	if !errors.Is(err, ballast.ErrInUse) || !strings.Contains(err.Error(), "the only in-sync copy of only") {
		t.Errorf("RemoveNode = %v", err)
	}
	if len(n.records.Nodes()) != 3 {
		t.Error("a refused removal removed a node")
	}
	lost, err := n.RemoveNode(t.Context(), "n3", true)
	if err != nil || len(lost) != 1 || lost[0] != "only" {
		t.Errorf("forced removal = %q, %v; want that only is lost", lost, err)
	}
	if _, ok := n.nodeGeneration("n3"); ok {
		t.Error("the certificate of a removed node counts")
	}
	// What others have in sync is given up on a node that is gone.
	if _, err := n.RemoveNode(t.Context(), "n2", true); err != nil {
		t.Fatal(err)
	}
	rec, err := n.records.Get("safe")
	if err != nil || len(rec.Copies) != 1 || rec.Copies[0] != "n1" || len(rec.InSync) != 1 {
		t.Errorf("copies = %q, in sync %q, %v; want n1 alone", rec.Copies, rec.InSync, err)
	}
}

// A machine that broke off while it joined does not keep its name; a node that came does.
func TestNameOfANodeThatNeverCame(t *testing.T) {
	n := clusterOfThree(t)
	if _, err := n.makeAuthority(t.Context()); err != nil {
		t.Fatal(err)
	}
	token := identity.NewToken(identity.Digest{})
	hash := token.Hash()
	if err := n.records.PutToken(t.Context(), token.ID, hash[:], time.Hour); err != nil {
		t.Fatal(err)
	}
	ask := peer.Admission{Token: token.ID, Hash: hash, Node: "n2", Address: "10.0.0.9:1"}
	r := registry{n}
	if _, _, err := r.Admit(t.Context(), ask); !errors.Is(err, ballast.ErrExists) {
		t.Errorf("a name that was given a moment ago = %v; want ErrExists", err)
	}
	wrong := ask
	wrong.Hash[0] ^= 1
	if _, _, err := r.Admit(t.Context(), wrong); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("a wrong secret = %v; want ErrNotFound", err)
	}
	elsewhere := ask
	elsewhere.Node, elsewhere.Address = "n4", "n3.example:7420"
	if _, _, err := r.Admit(t.Context(), elsewhere); !errors.Is(err, ballast.ErrExists) {
		t.Errorf("an address that is taken = %v; want ErrExists", err)
	}
	good := ask
	good.Node = "n4"
	generation, nodes, err := r.Admit(t.Context(), good)
	if err != nil || generation != 4 || len(nodes) != 4 || nodes[0].Node != "n1" {
		t.Errorf("Admit = %d %v, %v; want generation 4 and this node first of 4", generation, nodes, err)
	}
	if _, _, err := r.Admit(t.Context(), good); err == nil {
		t.Error("a token was spent twice")
	}
}

func TestDrainRefuses(t *testing.T) {
	alone, _ := testNode(t, newMachine(), t.TempDir())
	eventually(t, "the records", func() bool { ready, _ := alone.records.Ready(); return ready })
	report := func([]drainStep) error { return nil }
	if err := alone.Drain(t.Context(), "n1", report); !errors.Is(err, ballast.ErrInvalid) || !strings.Contains(err.Error(), "the only one") {
		t.Errorf("drain of a node on its own = %v", err)
	}
	if err := alone.Drain(t.Context(), "n9", report); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("drain of nobody = %v", err)
	}
	if err := alone.UndoDrain(t.Context(), "n9"); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("undo of nobody = %v", err)
	}
}
