package agent

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
)

// inSync returns the nodes whose copies count, and after a slash the others.
func (a *clusterAgent) copies(name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got, err := a.volumes.Inspect(ctx, connect.NewRequest(&v1.InspectRequest{Name: name}))
	if err != nil {
		return err.Error()
	}
	var in, other []string
	for _, c := range got.Msg.GetVolume().GetCopies() {
		if c.GetInSync() {
			in = append(in, c.GetNode())
		} else {
			other = append(other, c.GetNode())
		}
	}
	return strings.Join(in, " ") + "/" + strings.Join(other, " ")
}

func (a *clusterAgent) awaitCopies(name string, want ...string) {
	a.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for got := ""; !slices.Contains(want, got); got = a.copies(name) {
		if time.Now().After(deadline) {
			a.t.Fatalf("copies of %s = %s; want one of %q", name, got, want)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (a *clusterAgent) attach(name, holder string) string {
	a.t.Helper()
	at, err := a.volumes.Attach(a.t.Context(), connect.NewRequest(&v1.AttachRequest{Name: name, Holder: holder}))
	if err != nil {
		a.t.Fatal(err)
	}
	return at.Msg.GetMountpoint()
}

func (a *clusterAgent) detach(name, holder string) {
	a.t.Helper()
	if _, err := a.volumes.Detach(a.t.Context(), connect.NewRequest(&v1.DetachRequest{Name: name, Holder: holder})); err != nil {
		a.t.Fatal(err)
	}
}

// A volume gets its second copy by itself; a drain moves the copies of a detached one, which
// nobody attaches meanwhile; and what was written is where the copies went.
func TestCopiesArePlacedTendedAndDrained(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if testing.Short() {
		t.Skip("left out: takes a minute")
	}
	n1, n2, n3 := startClusterAgent(t, 1), startClusterAgent(t, 2), startClusterAgent(t, 3)
	for _, a := range []*clusterAgent{n1, n2, n3} {
		t.Cleanup(func() { a.kill(); sweepAll(t, a.dir) })
	}
	for _, a := range []*clusterAgent{n2, n3} {
		if err := a.join(n1.token()); err != nil {
			t.Fatal(err)
		}
		a.ready()
	}
	n1.awaitNodes("n1:up:member n2:up:member n3:up:member")
	create(t, n1, "db")
	mountpoint := n1.attach("db", "test")
	content := bytes.Repeat([]byte("everything "), 100_000)
	if err := os.WriteFile(filepath.Join(mountpoint, "file"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	n1.awaitCopies("db", "n1 n2/", "n1 n3/")
	other, third := n2, n3
	if n1.copies("db") == "n1 n3/" {
		other, third = n3, n2
	}
	n1.detach("db", "test")

	// The node is drained: its copy goes to the third one, while nobody has the volume attached.
	stream, err := n1.node.DrainNode(t.Context(), connect.NewRequest(&v1.DrainNodeRequest{Name: other.name}))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	done := false
	for stream.Receive() {
		for _, step := range stream.Msg().GetSteps() {
			said = append(said, step.GetVolume()+": "+step.GetDoing())
		}
		done = stream.Msg().GetDone()
	}
	if err := stream.Err(); err != nil || !done {
		t.Fatalf("drain = %t, %v; it said %q", done, err, slices.Compact(said))
	}
	t.Logf("drain said %q", slices.Compact(said))
	n1.awaitCopies("db", "n1 "+third.name+"/", third.name+" n1/")
	eventually(t, "the copy being deleted where it was", func() bool {
		left, err := os.ReadDir(filepath.Join(other.dir, volumesDir))
		return err == nil && len(left) == 0
	})
	if _, err := n1.node.RemoveNode(t.Context(), connect.NewRequest(&v1.RemoveNodeRequest{Name: other.name})); err != nil {
		t.Fatal(err)
	}

	// What was written is at the third one.
	mountpoint = third.attach("db", "test")
	if got, err := os.ReadFile(filepath.Join(mountpoint, "file")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v; want the %d that were written", len(got), err, len(content))
	}
	third.detach("db", "test")
}
