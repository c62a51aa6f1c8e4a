package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
)

// snapshot takes a base snapshot of a volume, from wherever it is asked.
func (a *clusterAgent) snapshot(name string, tags ...string) (*v1.BaseSnapshot, error) {
	stream, err := a.volumes.Snapshot(a.t.Context(), connect.NewRequest(&v1.SnapshotRequest{Name: name, Tags: tags}))
	if err != nil {
		return nil, err
	}
	var made *v1.BaseSnapshot
	for stream.Receive() {
		if s := stream.Msg().GetSnapshot(); s != nil {
			made = s
		}
	}
	return made, stream.Err()
}

func (a *clusterAgent) verify(name, command string) (*v1.VerifyResult, error) {
	stream, err := a.volumes.Verify(a.t.Context(), connect.NewRequest(&v1.VerifyRequest{Name: name, Command: command}))
	if err != nil {
		return nil, err
	}
	var result *v1.VerifyResult
	for stream.Receive() {
		if r := stream.Msg().GetResult(); r != nil {
			result = r
		}
	}
	return result, stream.Err()
}

// What is asked of a node about a volume that another one has is done with the content that it has
// there at that moment, archived or not; and what a volume was made of by one node can be used on
// another one at once.
func TestContentOfAnotherNode(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	_, _, more := sharedArchive(t)
	nodes := threeNodes(t, more...)
	n1, n2, n3 := nodes["n1"], nodes["n2"], nodes["n3"]
	n1.createWith("db", map[string]string{"size": "128M"})
	at := n1.attach("db", "cli")
	file := filepath.Join(at, "key")
	writeSynced(t, file, "first")
	eventually(t, "n2 and n3 knowing who has it", func() bool {
		return n2.inspect("db").GetPrimary() == "n1" && n3.inspect("db").GetPrimary() == "n1"
	})

	made, err := n2.snapshot("db", "before")
	if err != nil || made.GetNode() != "n1" {
		t.Fatalf("snapshot: %v, %v; want one that n1 took", made, err)
	}
	writeSynced(t, file, "second")
	if r, err := n3.verify("db", `test "$(cat key)" = second`); err != nil || !r.GetOk() {
		t.Errorf("verify: %v, %v; want what was written just now", r, err)
	}

	// A clone has what was written just now, whoever makes it, and is used where it was asked for, at once.
	writeSynced(t, file, "third")
	n2.createWith("clone", map[string]string{"from": "db"})
	wantFile(t, filepath.Join(n2.attach("clone", "cli"), "key"), []byte("third"))
	n3.createWith("tagged", map[string]string{"from": "db@before"})
	wantFile(t, filepath.Join(n2.attachPatiently("tagged"), "key"), []byte("first"))
	n2.createWith("clone", map[string]string{"from": "db"}) // Docker asks again, on every node
	n1.createWith("clone", map[string]string{"from": "db"})
	h, err := n3.volumes.History(t.Context(), connect.NewRequest(&v1.HistoryRequest{Name: "db"}))
	if err != nil || !slices.ContainsFunc(h.Msg.GetSnapshots(), func(s *v1.BaseSnapshot) bool { return s.GetId() == made.GetId() }) {
		t.Errorf("history: %v, %v; want the snapshot", h, err)
	}

	// In place: refused in the holder's words while it is used, and then done.
	_, err = n2.volumes.RestoreAt(t.Context(), connect.NewRequest(&v1.RestoreAtRequest{Name: "db", InPlace: true, Snapshot: "before"}))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "held by cli") {
		t.Errorf("restore in place of what is used = %v", err)
	}
	n1.detach("db", "cli")
	if _, err := n2.volumes.RestoreAt(t.Context(), connect.NewRequest(&v1.RestoreAtRequest{Name: "db", InPlace: true, Snapshot: "before"})); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(n1.attachPatiently("db"), "key"), []byte("first"))

	// What nobody has, a node does that has a copy; without any, the words say so.
	n1.awaitCopy("db")
	n1.detach("db", "cli")
	if _, err := n3.snapshot("db"); err != nil {
		t.Errorf("snapshot of a detached volume: %v", err)
	}
	if _, err := n3.snapshot("nothing"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("snapshot of no volume = %v", err)
	}

	// The other node is stopped: no call hangs.
	n1.attach("db", "cli")
	n1.crash()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for call, err := range n2.askEverything("db") {
		if code := connect.CodeOf(err); code != connect.CodeUnavailable || !strings.Contains(err.Error(), "n1") {
			t.Errorf("%s without the node that has it = %v", call, err)
		}
	}
	eventually(t, "what the archive has without that node", func() bool {
		_, err := n3.volumes.Create(ctx, connect.NewRequest(&v1.CreateRequest{Name: "late", Options: map[string]string{"from": "db"}}))
		if err != nil && connect.CodeOf(err) != connect.CodeUnavailable {
			t.Fatal(err)
		}
		return err == nil // when it is known that the other one is away
	})
	wantFile(t, filepath.Join(n3.attach("late", "cli"), "key"), []byte("first"))
}

// A volume that was restored on one node, and never used, is attached on another one: at once, also
// when nothing of it is here, and the node that restored it is gone.
func TestRestoredIsAttachedElsewhere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	_, _, more := sharedArchive(t)
	nodes := threeNodes(t, more...)
	n1, n2 := nodes["n1"], nodes["n2"]
	n1.createWith("db", map[string]string{"size": "128M"})
	content := random(7, 24<<20)
	writeSynced(t, filepath.Join(n1.attach("db", "cli"), "key"), string(content))
	if _, err := n1.snapshot("db"); err != nil {
		t.Fatal(err)
	}
	n1.detach("db", "cli")
	if _, err := n1.volumes.RestoreAt(t.Context(), connect.NewRequest(&v1.RestoreAtRequest{Name: "db", As: "again"})); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	wantFile(t, filepath.Join(n2.attachPatiently("again"), "key"), content)
	t.Logf("attached and read elsewhere after %s", time.Since(begin))
	eventuallyWithin(t, time.Minute, "it having everything", func() bool { return slices.Contains(n2.inSync("again"), ballast.NodeID("n2")) })
	n1.crash()
	if got, err := os.ReadFile(filepath.Join(n2.dir, mountsDir, "again", "key")); err != nil || string(got) != string(content) {
		t.Errorf("without the node that restored it: %d bytes, %v", len(got), err)
	}
}
