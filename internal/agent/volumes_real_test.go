package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/test/freeze"
)

// threeNodes are three agents of one cluster, whose volumes are swept at the end; more is said of
// each as by [Config.say].
func threeNodes(t *testing.T, more ...string) map[ballast.NodeID]*clusterAgent {
	t.Helper()
	needRoot(t)
	nodes := map[ballast.NodeID]*clusterAgent{}
	for i := 1; i <= 3; i++ {
		a := startClusterAgent(t, i, more...)
		t.Cleanup(func() { a.kill(); sweepAll(t, a.dir) })
		nodes[ballast.NodeID(a.name)] = a
	}
	for _, name := range []ballast.NodeID{"n2", "n3"} {
		token := nodes["n1"].token()
		eventually(t, "listening", func() bool { return listens(token.GetAddress()) })
		if err := nodes[name].join(token); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range nodes {
		a.awaitNodes("n1:up:member n2:up:member n3:up:member")
	}
	return nodes
}

// inspect returns nil when the agent does not answer.
func (a *clusterAgent) inspect(name string) *v1.Volume {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := a.volumes.Inspect(ctx, connect.NewRequest(&v1.InspectRequest{Name: name}))
	if err != nil {
		return nil
	}
	return r.Msg.GetVolume()
}

// inSync returns the nodes whose copies of a volume count, sorted.
func (a *clusterAgent) inSync(name string) (nodes []ballast.NodeID) {
	for _, c := range a.inspect(name).GetCopies() {
		if c.GetInSync() {
			nodes = append(nodes, ballast.NodeID(c.GetNode()))
		}
	}
	return nodes
}

// awaitCopy waits until a volume that from has attached has another copy that counts, and
// returns where.
func (a *clusterAgent) awaitCopy(name string) (other ballast.NodeID) {
	a.t.Helper()
	eventually(a.t, "a second copy of "+name+" being in sync", func() bool {
		i := slices.IndexFunc(a.inSync(name), func(n ballast.NodeID) bool { return string(n) != a.name })
		if i >= 0 {
			other = a.inSync(name)[i]
		}
		return i >= 0
	})
	return other
}

// engineOf returns the process that serves a volume on the node.
func (a *clusterAgent) engineOf(name string) int {
	a.t.Helper()
	st := a.inspect(name).GetEngine()
	if st.GetPid() == 0 {
		a.t.Fatalf("volume %s has no engine on %s", name, a.name)
	}
	return int(st.GetPid())
}

// holding starts a process that has a file of a volume open until it is killed.
func holding(t *testing.T, file string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", `exec 9>>"$0"; exec sleep 1000`, file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() }) // it is gone by then
	return cmd
}

// A volume of a cluster: it gets a second copy by itself; its node stops past the lease, and
// another one goes on with everything that was acknowledged (G1); the first one comes back, is
// taken down (A18), and follows. Then it goes where no copy is, and comes back by a move.
func TestVolumeOfACluster(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a minute")
	}
	nodes := threeNodes(t)
	n1 := nodes["n1"]
	create(t, n1, "db")
	at := n1.attach("db", "cli")
	other := nodes[n1.awaitCopy("db")]
	for i := range 50 {
		writeSynced(t, filepath.Join(at, fmt.Sprint(i)), fmt.Sprintf("acknowledged %d", i))
	}
	user := holding(t, filepath.Join(at, "held"))

	pid := n1.engineOf("db")
	freeze.Process(t, n1.cmd.Process.Pid)
	freeze.Process(t, pid)
	there := other.attach("db", "cli")
	mustHaveAll(t, there)
	writeSynced(t, filepath.Join(there, "after"), "by the next one")
	for _, stopped := range []int{pid, n1.cmd.Process.Pid} {
		if err := syscall.Kill(stopped, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the zombie being taken down", func() bool {
		return leftOnMachine(t, n1.dir) == "" && user.Process.Signal(syscall.Signal(0)) == nil == isZombie(user.Process.Pid)
	})
	eventually(t, "the first copy following", func() bool { return slices.Contains(other.inSync("db"), "n1") })

	third := nodes[thirdOf(n1, other)]
	if _, err := n1.volumes.Detach(t.Context(), connect.NewRequest(&v1.DetachRequest{Name: "db", Holder: "cli", Node: other.name})); err != nil {
		t.Fatal(err)
	}
	mustHaveAll(t, third.attach("db", "cli")) // at once, where no copy was, or where one just came
	eventually(t, "the third copy being in sync", func() bool { return slices.Contains(third.inSync("db"), ballast.NodeID(third.name)) })

	stream, err := other.volumes.Move(t.Context(), connect.NewRequest(&v1.MoveRequest{Name: "db", Node: "n1"}))
	if err != nil {
		t.Fatal(err)
	}
	done := false
	for stream.Receive() {
		done = stream.Msg().GetDone()
	}
	if err := stream.Err(); err != nil || !done {
		t.Fatalf("move ended with %t, %v", done, err)
	}
	mustHaveAll(t, filepath.Join(n1.dir, mountsDir, "db"))
	if v := other.inspect("db"); v.GetPrimary() != "n1" || !slices.Equal(v.GetHolders(), []string{"cli"}) {
		t.Errorf("primary %s, held by %v; want n1, by cli", v.GetPrimary(), v.GetHolders())
	}
}

func thirdOf(a, b *clusterAgent) ballast.NodeID {
	for _, name := range []string{"n1", "n2", "n3"} {
		if name != a.name && name != b.name {
			return ballast.NodeID(name)
		}
	}
	return ""
}

func mustHaveAll(t *testing.T, dir string) {
	t.Helper()
	for i := range 50 {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
		if want := fmt.Sprintf("acknowledged %d", i); string(got) != want || err != nil {
			t.Fatalf("file %d holds %q, %v; want %q", i, got, err, want)
		}
	}
}

// isZombie reports whether a child has ended and was not waited for.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(rest, "Z")
}

// The engine alone dies: the next attach on the same node goes on, under the next epoch, and the
// copies elsewhere follow it.
func TestEngineOfAClusterDies(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	nodes := threeNodes(t)
	n1 := nodes["n1"]
	create(t, n1, "db")
	at := n1.attach("db", "cli")
	other := n1.awaitCopy("db")
	for i := range 50 {
		writeSynced(t, filepath.Join(at, fmt.Sprint(i)), fmt.Sprintf("acknowledged %d", i))
	}
	if err := syscall.Kill(n1.engineOf("db"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it being noticed", func() bool { return n1.inspect("db").GetState() != string(stateAttached) })
	mustHaveAll(t, n1.attach("db", "again"))
	eventually(t, "the copy following", func() bool { return slices.Contains(n1.inSync("db"), other) })
	if v := n1.inspect("db"); v.GetEpoch() != 2 {
		t.Errorf("epoch %d; want 2", v.GetEpoch())
	}
	if _, err := engine.Dial(filepath.Join(nodes[other].dir, volumesDir, n1.inspect("db").GetId())); err == nil {
		t.Error("an engine runs where the copy follows")
	}
}
