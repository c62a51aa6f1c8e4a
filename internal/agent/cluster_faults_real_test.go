package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/engine"
)

func (a *clusterAgent) createWith(name string, options map[string]string) {
	a.t.Helper()
	if _, err := a.volumes.Create(a.t.Context(), connect.NewRequest(&v1.CreateRequest{Name: name, Options: options})); err != nil {
		a.t.Fatal(err)
	}
}

func (a *clusterAgent) folder(id string) string { return filepath.Join(a.dir, volumesDir, id) }

// crash ends the agent and its engines, as the end of the machine would. What they had mounted
// is swept, as by the next boot.
func (a *clusterAgent) crash() {
	a.t.Helper()
	a.kill()
	sweepAll(a.t, a.dir)
}

// noMoreCopies keeps the cluster from making copies on a node.
func (a *clusterAgent) noMoreCopies() {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	defer cancel()
	stream, err := a.node.DrainNode(ctx, connect.NewRequest(&v1.DrainNodeRequest{Name: a.name}))
	if err != nil {
		a.t.Fatal(err)
	}
	for stream.Receive() { // to its end: nothing is there yet
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil {
		a.t.Fatal(err)
	}
}

// What is asked of a node that does not have a volume attached is done by the one that has, or
// the error says where that one is.
func TestAskedOfAnotherNode(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	nodes := threeNodes(t)
	n1, n2 := nodes["n1"], nodes["n2"]
	n1.createWith("db", map[string]string{"size": "300M", "fs": "xfs"}) // not every root may grow ext4 while it is mounted
	n1.attach("db", "cli")
	eventually(t, "n2 knowing who has it", func() bool { return n2.inspect("db").GetPrimary() == "n1" })
	if _, err := n2.volumes.Resize(t.Context(), connect.NewRequest(&v1.ResizeRequest{Name: "db", Size: "400M"})); err != nil {
		t.Errorf("resize: %v", err)
	}
	st, err := engine.Dial(n1.folder(n1.inspect("db").GetId()))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if s, err := st.Status(t.Context()); err != nil || s.Size != 400<<20 {
		t.Errorf("the engine has %d bytes, %v; want them grown at once", s.Size, err)
	}
	if _, err := n2.volumes.Remove(t.Context(), connect.NewRequest(&v1.RemoveRequest{Name: "db"})); err == nil || !strings.Contains(err.Error(), "held by cli") {
		t.Errorf("remove of what is held = %v", err)
	}
	for call, err := range n2.askEverything("db") { // by n1, which has no archive
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s = %v", call, err)
		}
	}
	n1.kill() // its engine goes on
	for call, err := range n2.askEverything("db") {
		if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "node n1") || !strings.Contains(err.Error(), "type it again") {
			t.Errorf("%s without the agent that has it = %v", call, err)
		}
	}
	n1.start()
	n1.detach("db", "cli")
	if _, err := n2.volumes.Remove(t.Context(), connect.NewRequest(&v1.RemoveRequest{Name: "db"})); err != nil {
		t.Errorf("remove: %v", err)
	}
}

// remove removes a volume, as soon as the records answer: who led them may have just been killed.
func (a *clusterAgent) remove(name string) {
	a.t.Helper()
	var err error
	eventually(a.t, "an answer to the removal of "+name, func() bool {
		_, err = a.volumes.Remove(a.t.Context(), connect.NewRequest(&v1.RemoveRequest{Name: name}))
		return connect.CodeOf(err) != connect.CodeUnavailable
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// askEverything returns what becomes of the calls that need a volume's history.
func (a *clusterAgent) askEverything(name string) map[string]error {
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	errs := map[string]error{}
	_, errs["retain"] = a.volumes.Retain(ctx, connect.NewRequest(&v1.RetainRequest{Name: name}))
	_, errs["restore"] = a.volumes.RestoreAt(ctx, connect.NewRequest(&v1.RestoreAtRequest{Name: name, InPlace: true}))
	stream, err := a.volumes.Snapshot(ctx, connect.NewRequest(&v1.SnapshotRequest{Name: name}))
	if err == nil {
		for stream.Receive() { // to its end
		}
		err = stream.Err()
	}
	errs["snapshot"] = err
	return errs
}

// A25: a primary that fills in from another node's copy dies, its engine alone and then all of its
// node; it goes on with the files that it had, and everything that was acknowledged.
func TestFillingGoesOn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	nodes := threeNodes(t)
	n1, n2 := nodes["n1"], nodes["n2"]
	size := "2G" // takes longer to fill in than what happens meanwhile
	if raceEnabled {
		size = "512M"
	}
	n1.createWith("db", map[string]string{"size": size, "repl": "1"})
	at := n1.attach("db", "cli")
	for i := range 25 {
		writeSynced(t, filepath.Join(at, name(i)), acknowledged(i))
	}
	n1.detach("db", "cli")
	id := n1.inspect("db").GetId()
	mark := filepath.Join(n2.folder(id), "mark") // goes with the files, when they are made anew

	at = n2.attach("db", "cli")
	if slices.Contains(n2.inSync("db"), "n2") {
		t.Fatal("it has everything already: this tests nothing")
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 15 {
		writeSynced(t, filepath.Join(at, name(25+i)), acknowledged(25+i))
	}
	if err := syscall.Kill(n2.engineOf("db"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it being noticed", func() bool { return n2.inspect("db").GetState() != string(stateAttached) })
	at = n2.attach("db", "again")
	for i := range 10 {
		writeSynced(t, filepath.Join(at, name(40+i)), acknowledged(40+i))
	}
	n2.crash()
	n2.start()
	mustHaveAll(t, n2.attach("db", "cli"))
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("it began anew: %v", err)
	}
	if !slices.Contains(n2.inSync("db"), "n1") {
		t.Errorf("in sync: %v; want n1 all the time", n2.inSync("db"))
	}
	eventuallyWithin(t, 2*time.Minute, "it having everything", func() bool { return slices.Contains(n2.inSync("db"), "n2") })
	n2.detach("db", "cli")
	n1.crash() // the copy on n2 is as good without the one that it was made of
	mustHaveAll(t, n2.attach("db", "cli"))
}

func name(i int) string         { return strconv.Itoa(i) }
func acknowledged(i int) string { return "acknowledged " + name(i) }

// The copy that has everything is lost for good: nobody attaches a stale one, an operator forces
// it, which is recorded; the lost one comes back, and what it alone had is gone.
func TestForcedFailover(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	nodes := threeNodes(t)
	n1, n2, n3 := nodes["n1"], nodes["n2"], nodes["n3"]
	n3.noMoreCopies()
	create(t, n1, "db")
	at := n1.attach("db", "cli")
	if other := n1.awaitCopy("db"); other != "n2" {
		t.Fatalf("the second copy is on %s", other)
	}
	for i := range 50 {
		writeSynced(t, filepath.Join(at, name(i)), acknowledged(i))
	}
	n2.crash()
	writeSynced(t, filepath.Join(at, "late"), "acknowledged by n1 alone")
	n1.crash()
	n2.start()

	eventually(t, "n2 knowing that n1 is away", func() bool { return strings.Contains(n2.nodes(), "n1:away") })
	_, err := n2.volumes.Attach(t.Context(), connect.NewRequest(&v1.AttachRequest{Name: "db", Holder: "cli"}))
	if err == nil || !strings.Contains(err.Error(), "ballast volume failover db") {
		t.Fatalf("attach of a stale copy = %v", err)
	}
	plan, err := n3.volumes.Failover(t.Context(), connect.NewRequest(&v1.FailoverRequest{Name: "db"}))
	if err != nil {
		t.Fatal(err)
	}
	if plan.Msg.GetChoice() != "n2" || !strings.Contains(plan.Msg.GetLoses(), "every write that was acknowledged after record") || !strings.Contains(plan.Msg.GetLoses(), "all of them are on n1") {
		t.Errorf("plan: %s, loses %s", plan.Msg.GetChoice(), plan.Msg.GetLoses())
	}
	before := n3.inspect("db").GetEpoch()
	if _, err := n3.volumes.Failover(t.Context(), connect.NewRequest(&v1.FailoverRequest{Name: "db", Apply: true})); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the record of it", func() bool { return len(n2.inspect("db").GetForced()) == 1 })
	f := n2.inspect("db").GetForced()[0]
	if f.GetFrom() != "n1" || f.GetTo() != "n2" || f.GetLsn() == 0 || f.GetEpoch() <= before || time.Since(f.GetAt().AsTime()) > time.Minute {
		t.Errorf("recorded: %v", f)
	}
	at = n2.attach("db", "cli")
	mustHaveAll(t, at)
	if _, err := os.Stat(filepath.Join(at, "late")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what n2 never had is there: %v", err)
	}
	writeSynced(t, filepath.Join(at, "after"), "by n2")

	n1.start()
	eventuallyWithin(t, 2*time.Minute, "the lost copy following", func() bool { return slices.Contains(n2.inSync("db"), "n1") })
	n2.detach("db", "cli")
	at = n1.attach("db", "cli")
	mustHaveAll(t, at)
	if got, err := os.ReadFile(filepath.Join(at, "after")); string(got) != "by n2" || err != nil {
		t.Errorf("what n2 wrote is %q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(at, "late")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what diverged was merged: %v", err)
	}
}

// The time in the trash is over: the files of all copies go, also on a node that was away, and
// the record goes last.
func TestPurgeEverywhere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	nodes := threeNodes(t)
	n1 := nodes["n1"]
	create(t, n1, "db")
	n1.attach("db", "cli")
	other := nodes[n1.awaitCopy("db")]
	id := n1.inspect("db").GetId()
	for _, a := range []*clusterAgent{n1, other} {
		if _, err := os.Stat(a.folder(id)); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range nodes { // keep nothing for long
		a.keep = time.Second
		a.kill()
		a.begin()
	}
	for _, a := range nodes {
		a.ready()
	}
	n1.detach("db", "cli")
	other.kill()
	n1.remove("db")
	eventuallyWithin(t, 2*time.Minute, "the files on n1 going", func() bool { _, err := os.Stat(n1.folder(id)); return errors.Is(err, os.ErrNotExist) })
	if _, err := os.Stat(other.folder(id)); err != nil {
		t.Fatalf("the files on a node that is away: %v", err)
	}
	other.start()
	eventuallyWithin(t, 2*time.Minute, "the files on the other node going", func() bool { _, err := os.Stat(other.folder(id)); return errors.Is(err, os.ErrNotExist) })
	eventuallyWithin(t, 2*time.Minute, "the record going", func() bool {
		list, err := n1.volumes.List(t.Context(), connect.NewRequest(&v1.ListRequest{Trash: true}))
		return err == nil && len(list.Msg.GetVolumes()) == 0
	})
}

// etcd loses its quorum: a volume whose only copy is here works on; one with a copy elsewhere
// acknowledges nothing more and is taken down; all that was acknowledged is there when the quorum is back.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	nodes := threeNodes(t)
	n1 := nodes["n1"]
	n1.awaitNodes("n1:up:member n2:up:member n3:up:member")
	n1.createWith("single", map[string]string{"size": "64M", "repl": "1"})
	single := n1.attach("single", "cli")
	create(t, n1, "db")
	create(t, n1, "idle")
	at := n1.attach("db", "cli")
	n1.awaitCopy("db")
	for i := range 50 {
		writeSynced(t, filepath.Join(at, name(i)), acknowledged(i))
	}
	nodes["n2"].kill()
	nodes["n3"].kill()
	fails := make(chan error, 1)
	go func() { fails <- trySynced(filepath.Join(at, "lost")) }() // waits first
	writeSynced(t, filepath.Join(single, "meanwhile"), "works on")
	select {
	case err := <-fails:
		if err == nil {
			t.Error("acknowledged without the copy that counts")
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
	}
	n1.awaitSilence()
	n1.refusesSoon("idle", "n2")
	eventually(t, "what failed being said", func() bool {
		return slices.ContainsFunc(n1.inspect("db").GetConditions(), func(c *v1.Condition) bool { return c.GetCode() == condFenced })
	})
	writeSynced(t, filepath.Join(single, "after"), "works on")

	nodes["n2"].begin()
	nodes["n3"].begin()
	eventuallyWithin(t, 2*time.Minute, "the end of the warning", func() bool { return !slices.Contains(n1.conditions(), condRecords) })
	writeSynced(t, filepath.Join(single, "later"), "works on")
	eventuallyWithin(t, 2*time.Minute, "it being attached again", func() bool {
		_, err := n1.volumes.Attach(t.Context(), connect.NewRequest(&v1.AttachRequest{Name: "db", Holder: "cli"}))
		return err == nil
	})
	mustHaveAll(t, at)
	writeSynced(t, filepath.Join(at, "again"), "with its copy")
	n1.awaitCopy("db")
}

// trySynced writes a file and syncs it, or says why not.
func trySynced(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = f.WriteString("x")
	return errors.Join(err, f.Sync(), f.Close())
}
