package agent

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
)

// attachLikeDocker asks for a volume as Docker does when the machine boots: once, and for as long as
// it takes. What comes of it can be received.
func (a *clusterAgent) attachLikeDocker(name string) <-chan error {
	done := make(chan error, 1)
	go func() { // ends with the agent at the latest
		_, err := a.volumes.Attach(context.Background(), connect.NewRequest(&v1.AttachRequest{Name: name, Holder: dockerHolder + "c-" + name}))
		done <- err
	}()
	return done
}

// listensLocally reports whether the agent answers on its socket.
func (a *clusterAgent) listensLocally() bool {
	_, err := a.node.Status(a.t.Context(), connect.NewRequest(&v1.StatusRequest{}))
	return err == nil
}

// All machines lose power, and boot one after the other, the last one when nobody waits for it any
// more: what Docker asks for at its node's boot is attached again without hands, as soon as two are there.
func TestMachinesBootInAnyOrder(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	nodes := threeNodes(t)
	n1, n2, n3 := nodes["n1"], nodes["n2"], nodes["n3"]
	create(t, n1, "db")
	at := n1.attach("db", dockerHolder+"before")
	n1.awaitCopy("db")
	for i := range 50 {
		writeSynced(t, filepath.Join(at, name(i)), acknowledged(i))
	}
	n1.createWith("web", map[string]string{"size": "64M", "repl": "1"})
	eventually(t, "n3 knowing of it", func() bool { return n3.inspect("web").GetId() != "" })
	writeSynced(t, filepath.Join(n3.attach("web", dockerHolder+"before"), "f"), "of n3")
	for _, a := range []*clusterAgent{n1, n2, n3} {
		a.crash()
	}

	n1.begin()
	eventually(t, "n1 answering", n1.listensLocally)
	db := n1.attachLikeDocker("db")
	n1.awaitSilence() // and whoever is not Docker is refused, says another test
	select {
	case err := <-db:
		t.Fatalf("attach without a quorum: %v", err)
	default:
	}
	n3.begin()
	eventually(t, "n3 answering", n3.listensLocally)
	web := n3.attachLikeDocker("web")
	for what, done := range map[string]<-chan error{"db": db, "web": web} {
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	mustHaveAll(t, at)
	writeSynced(t, filepath.Join(at, "again"), "by n1")

	// The last one, later than its copies are waited for.
	n2.start()
	for _, a := range nodes {
		a.awaitNodes("n1:up:member n2:up:member n3:up:member")
	}
	n1.awaitCopy("db")
}

// A node is removed while another member is away: it stays removed when the cluster is whole again,
// and when it starts again itself; under its name it joins anew, and nothing that it had counts.
func TestRemovedWhileAnotherIsAway(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	nodes := threeNodes(t)
	n1, n2, n3 := nodes["n1"], nodes["n2"], nodes["n3"]
	n2.noMoreCopies()
	create(t, n1, "db")
	at := n1.attach("db", "cli")
	if other := n1.awaitCopy("db"); other != "n3" {
		t.Fatalf("the second copy is on %s", other)
	}
	for i := range 50 {
		writeSynced(t, filepath.Join(at, name(i)), acknowledged(i))
	}
	n2.kill()
	n1.awaitNodes("n1:up:member n2:away:member n3:up:member")
	if _, err := n1.node.RemoveNode(t.Context(), connect.NewRequest(&v1.RemoveNodeRequest{Name: "n3", Force: true})); err != nil {
		t.Fatal(err)
	}
	eventuallyWithin(t, time.Minute, "n3 hearing of it", func() bool { return slices.Contains(n3.conditions(), condRemoved) })
	n3.kill()
	n2.begin()
	n3.begin()
	eventuallyWithin(t, time.Minute, "n1 and n2 going on", func() bool {
		return withoutMembers(n1.nodes()) == "n1:up n2:draining" || withoutMembers(n1.nodes()) == "n1:up n2:drained"
	})
	eventuallyWithin(t, time.Minute, "n3 saying that it was removed", func() bool { return slices.Contains(n3.conditions(), condRemoved) })
	if err := n3.tryAttach("db"); err == nil {
		t.Error("a removed node attaches a volume")
	}
	eventuallyWithin(t, time.Minute, "db being attached on n1", func() bool {
		_, err := n1.volumes.Attach(t.Context(), connect.NewRequest(&v1.AttachRequest{Name: "db", Holder: "cli"}))
		return err == nil
	})
	writeSynced(t, filepath.Join(at, "without"), "n3")
	if slices.Contains(n1.inSync("db"), "n3") {
		t.Errorf("in sync: %v; n3 was removed", n1.inSync("db"))
	}
	if err := n3.join(n1.token()); err != nil {
		t.Fatal(err)
	}
	n3.ready()
	if other := n1.awaitCopy("db"); other != "n3" { // from the one that counts, whatever n3 had
		t.Errorf("the second copy is on %s", other)
	}
	n1.detach("db", "cli")
	n1.detach("db", "cli") // it may hold it twice
	mustHaveAll(t, n3.attach("db", "cli"))
}
