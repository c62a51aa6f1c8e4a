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
	"github.com/ballast-io/ballast/internal/cluster"
)

// tryAttach attaches a volume, or says why not.
func (a *clusterAgent) tryAttach(name string) error {
	ctx, cancel := context.WithTimeout(a.t.Context(), 30*time.Second)
	defer cancel()
	_, err := a.volumes.Attach(ctx, connect.NewRequest(&v1.AttachRequest{Name: name, Holder: "cli"}))
	return err
}

// beginForced starts the agent for once as one that is to go on without the others, by the word of
// an operator who agrees to everything; what they were shown is in the file that is returned.
func (a *clusterAgent) beginForced() (plan string) {
	a.t.Helper()
	plan = filepath.Join(a.t.TempDir(), "plan")
	before := a.more
	a.more = append(slices.Clone(before), "forced="+plan)
	a.begin()
	a.more = before
	return plan
}

// Of two nodes the one that keeps the records is lost; the other one goes on with what it knew and
// has, as another cluster. The lost one returns with volumes attached: it hears that it was given
// up, ends them, and stays out, until it joins anew with nothing.
func TestForceNewFromView(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	n1, n2 := twoNodes(t)
	create(t, n1, "db")
	at := n1.attach("db", "cli")
	n1.awaitCopy("db")
	for i := range 50 {
		writeSynced(t, filepath.Join(at, name(i)), acknowledged(i))
	}
	n1.createWith("theirs", map[string]string{"size": "64M", "repl": "1"})
	theirs := n1.attach("theirs", "cli")
	n1.createWith("mine", map[string]string{"size": "64M", "repl": "1"})
	eventually(t, "n2 knowing of it", func() bool { return n2.inspect("mine").GetId() != "" })
	n2.attach("mine", "cli")
	eventually(t, "n2 knowing all", func() bool {
		return n2.inspect("theirs").GetPrimary() == "n1" && n2.inspect("db").GetPrimary() == "n1" && len(n2.inSync("db")) == 2
	})
	before := n2.inspect("db").GetEpoch()

	// As long as n1 answers nothing is forced.
	n2.kill()
	plan := n2.beginForced()
	if err := n2.cmd.Wait(); err == nil {
		t.Error("it was forced although the other node answers")
	}
	if _, err := os.Stat(plan); err == nil {
		t.Error("and an operator was asked")
	}

	n1.kill() // what is attached there goes on
	plan = n2.beginForced()
	n2.ready()
	n2.awaitNodes("n2:up:member")
	shown, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", shown)
	for _, want := range []string{"db: goes on from the copy here", "theirs: LOST with n1: there is no copy here", "mine: goes on from the copy here", "it is attached here, and what uses it is ended", "Out for good: n1"} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("the plan lacks %q", want)
		}
	}
	if v := n2.inspect("db"); v.GetEpoch() < before+cluster.EpochLeap || !slices.Equal(n2.inSync("db"), []ballast.NodeID{"n2"}) {
		t.Errorf("db has epoch %d after %d, in sync %v", v.GetEpoch(), before, n2.inSync("db"))
	}
	if err := n2.tryAttach("theirs"); err == nil || !strings.Contains(err.Error(), "ballast volume failover theirs") {
		t.Errorf("attach of what is lost = %v", err)
	}
	eventually(t, "what was attached being ended", func() bool { return n2.inspect("mine").GetState() != string(stateAttached) })
	at = n2.attach("db", "cli")
	mustHaveAll(t, at)
	writeSynced(t, filepath.Join(at, "after"), "by n2")
	n2.attach("mine", "cli")
	writeSynced(t, filepath.Join(theirs, "meanwhile"), "by nobody else")

	// The lost one returns.
	for range 2 { // and again, when it knows
		n1.begin()
		eventually(t, "n1 hearing that it was given up", func() bool { return slices.Contains(n1.conditions(), condGivenUp) })
		eventually(t, "n1 ending what it has", func() bool { return leftOnMachine(t, n1.dir) == "" })
		if err := n1.tryAttach("db"); err == nil || !strings.Contains(err.Error(), "went on without it") {
			t.Errorf("attach on a node that was given up = %v", err)
		}
		n1.kill()
	}
	writeSynced(t, filepath.Join(at, "still"), "by n2")

	// With an empty folder it is welcome, and has to get everything anew.
	old := n1.dir
	t.Cleanup(func() { sweepAll(t, old) })
	n1.dir = t.TempDir()
	n1.start()
	token := n2.token()
	eventually(t, "listening", func() bool { return listens(token.GetAddress()) })
	if err := n1.join(token); err != nil {
		t.Fatal(err)
	}
	n1.ready()
	n2.awaitNodes("n1:up n2:up:member")
	if other := n2.awaitCopy("db"); other != "n1" {
		t.Errorf("the second copy is on %s", other)
	}
	n2.detach("db", "cli")
	at = n1.attach("db", "cli")
	mustHaveAll(t, at)
	if got, err := os.ReadFile(filepath.Join(at, "still")); string(got) != "by n2" || err != nil {
		t.Errorf("what n2 wrote last is %q, %v", got, err)
	}
}
