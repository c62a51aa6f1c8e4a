package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
)

// The scripts of the command line show what people read in a cluster's trouble, with a stand-in
// for the agent: what it says there must be what an agent says.
func shownInScript(t *testing.T, texts ...string) {
	t.Helper()
	script, err := os.ReadFile("../../cmd/ballast/testdata/script/cluster_trouble.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if text == "" || !strings.Contains(string(script), text) {
			t.Errorf("no golden text of cluster_trouble.txtar has %q", text)
		}
	}
}

// condition returns what a node says, for people.
func conditionText(t *testing.T, n *node, volume ballast.VolumeID, code string) (title, hint string) {
	t.Helper()
	for _, c := range n.health.of(volume) {
		if c.code == code {
			return c.title, c.hint
		}
	}
	t.Fatalf("nothing is said of %s", code)
	return "", ""
}

func TestTroubleReadsAsShown(t *testing.T) {
	t.Run("given up", func(t *testing.T) {
		n := newTestNode(t, newMachine(), Config{DataDir: t.TempDir(), Archive: NoArchive})
		g := &givenUp{By: "n2", Cluster: "c2", At: time.Date(2026, 11, 21, 11, 50, 0, 0, time.Local)}
		n.noteGivenUp(g)
		title, hint := conditionText(t, n, "", condGivenUp)
		shownInScript(t, title, strings.ReplaceAll(hint, n.cfg.DataDir, "/var/lib/ballast"))
	})
	t.Run("no copy", func(t *testing.T) {
		n := clusterOfThree(t)
		rec := cluster.Record{ID: "v", Name: "theirs", Spec: ballast.DefaultVolumeSpec(), Epoch: 3, InSync: []ballast.NodeID{"n9"}, Copies: []ballast.NodeID{"n9"}, Formatted: true}
		n.noteCopies(rec, 3)
		title, hint := conditionText(t, n, "v", condNoCopy)
		shownInScript(t, title, hint)
	})
}

// No in-sync copy can be reached: the service refuses, says why and what to type, and changes nothing.
func TestAttachWithoutACopyReadsAsShown(t *testing.T) {
	n := clusterOfThree(t)
	rec := cluster.Record{ID: cluster.NewVolumeID(), Name: "db", Spec: ballast.DefaultVolumeSpec(), Epoch: 3, InSync: []ballast.NodeID{"n9"}, Copies: []ballast.NodeID{"n9"}, Formatted: true}
	if _, err := n.records.Adopt(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	before, err := n.records.Get("db")
	if err != nil {
		t.Fatal(err)
	}
	// As Attach does it, which would look for a copy for as long as Docker waits.
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = apiError(fmt.Errorf("attach volume %q: %w", rec.Name, n.explainNoCopy(rec, n.findWhole(short, rec))))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("Attach = %v; want it refused", err)
	}
	said, _ := errors.AsType[*connect.Error](err)
	shownInScript(t, said.Message())
	after, err := n.records.Get("db")
	if err != nil || after.Revision != before.Revision || n.hasFiles(n.slot(rec.ID)) {
		t.Errorf("what was refused changed the record, or left files: %+v, %v", after, err)
	}
}

// A name that is taken, an address that is: who joins hears what to do.
func TestTakenNamesReadAsShown(t *testing.T) {
	n := clusterOfThree(t)
	authority, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	token := identity.NewToken(authority.Digest())
	hash := token.Hash()
	if err := n.records.PutToken(t.Context(), token.ID, hash[:], time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, ask := range []peer.Admission{{Node: "n2", Address: "10.0.0.9:7420"}, {Node: "n4", Address: "n3.example:7420"}} {
		ask.Token, ask.Hash = token.ID, hash
		_, _, err := (registry{n}).Admit(t.Context(), ask)
		if !errors.Is(err, ballast.ErrExists) || len(n.records.Nodes()) != 3 {
			t.Fatalf("Admit = %v, and the nodes are %v; want it refused", err, n.records.Nodes())
		}
		shownInScript(t, strings.TrimSuffix(err.Error(), ": "+ballast.ErrExists.Error()))
	}
}
