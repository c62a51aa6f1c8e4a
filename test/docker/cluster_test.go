package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// newDockerNode starts an Engine on a node of a cluster.
func newDockerNode(t *testing.T, n *lab.Node) engine {
	t.Helper()
	if err := errors.Join(n.Dockerd.Start(t.Context()), n.ImportImage(t.Context(), "busybox", lab.Busybox())); err != nil {
		t.Fatal(err)
	}
	return engine{t: t, m: n.Machine}
}

// seen is what an Engine shows of a volume.
func (e engine) seen(name string) (node, state string) {
	e.t.Helper()
	var shown []struct{ Status map[string]any }
	if err := json.Unmarshal([]byte(e.ok("volume", "inspect", name)), &shown); err != nil || len(shown) != 1 {
		e.t.Fatalf("docker volume inspect %s: %d of them, %v", name, len(shown), err)
	}
	return fmt.Sprint(shown[0].Status["node"]), fmt.Sprint(shown[0].Status["state"])
}

// counts starts a container that counts in a file of a volume for as long as it runs, and says
// how far it has come.
func (e engine) counts(name, volume string) {
	e.t.Helper()
	e.ok("run", "-d", "--name", name, "--network", "none", "--stop-timeout", "1", "-v", volume+":/data", "busybox",
		"sh", "-c", "read i </data/n || i=0; while :; do i=$((i+1)); echo $i | busybox dd of=/data/n conv=fsync 2>/dev/null && echo $i || exit 1; sleep 0.05; done")
}

func (e engine) counted(name string) (n int) {
	e.t.Helper()
	eventually(e.t, name+" counting", func() bool {
		_, err := fmt.Sscan(e.ok("logs", "--tail", "1", name), &n)
		return err == nil && n > 0
	})
	return n
}

// Docker on every node of a cluster: names are one for all, what is elsewhere is shown as what it is and
// is not removed; who wants a volume that another node uses gets it as soon as that one lets go, or is
// gone, with everything that was synced; and an agent that starts again disturbs nobody.
func TestDockerOfACluster(t *testing.T) {
	if shared.skip != "" {
		t.Skip(shared.skip)
	}
	c := labtest.NewCluster(t, 3, lab.ClusterOptions{Machine: lab.Options{AgentArgs: []string{"--log-capacity", "256M"}}})
	n1, n2 := newDockerNode(t, c.Nodes[0]), newDockerNode(t, c.Nodes[1])

	// The same 18 names from each node, at once: each Engine does so for every service.
	names := make([]string, 18)
	var all errgroup.Group
	all.SetLimit(6)
	for i := range names {
		names[i] = fmt.Sprintf("v%02d", i)
		for _, e := range []engine{n1, n2} {
			all.Go(func() error {
				out, err := e.m.Docker(t.Context(), "volume", "create", "-d", "ballast", "-o", "size=64M", names[i])
				if err != nil {
					err = fmt.Errorf("create %s: %w\n%s", names[i], err, out)
				}
				return err
			})
		}
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, e := range []engine{n1, n2} {
		eventually(t, "18 names", func() bool {
			listed := strings.Fields(e.ok("volume", "ls", "-q"))
			slices.Sort(listed)
			return slices.Equal(listed, names)
		})
	}
	n1.counts("first", "v00")
	before := n1.counted("first")
	eventually(t, "n2 showing who has it", func() bool { node, state := n2.seen("v00"); return node == "n1" && state == "attached" })
	if out := n2.fails("volume", "rm", "v00"); !strings.Contains(out, "n1") {
		t.Errorf("removal of what is used on n1: %s", out)
	}

	// The agent starts again: its containers hear nothing of it.
	if err := errors.Join(c.Nodes[0].Agent.Kill(t.Context()), c.Nodes[0].Agent.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the container going on", func() bool { return n1.counted("first") > before+5 })
	if got := n1.ok("inspect", "-f", "{{.State.Running}} {{.RestartCount}}", "first"); got != "true 0" {
		t.Errorf("the container is %s", got)
	}

	// Another node wants it: not while it is used, and then at once.
	second := n2.start("run", "-d", "--name", "second", "--network", "none", "-v", "v00:/data", "busybox",
		"sh", "-c", "cat /data/n; exec sleep 1000")
	<-time.After(2 * time.Second)
	if second.ended() {
		t.Fatalf("mounted on two nodes, or refused at once: %s", second.output())
	}
	n1.ok("stop", "first")
	reached := n1.counted("first")
	<-second.done
	if second.err != nil {
		t.Fatalf("%v: %s", second.err, second.output())
	}
	if got := n2.counted("second"); got < reached || got > reached+1 { // it may have been stopped before it said so
		t.Errorf("n2 reads %d; n1 had synced %d", got, reached)
	}
	eventually(t, "n1 showing who has it", func() bool { node, _ := n1.seen("v00"); return node == "n2" })

	// The node that has it is gone: another one goes on when its session is over.
	n2.ok("rm", "-f", "second")
	n2.counts("third", "v00")
	n2.counted("third")
	awaitTwoCopies(t, c.Nodes[0], "v00")
	reached = n2.counted("third")
	if err := c.Nodes[1].PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	n1.ok("rm", "first")
	n1.counts("fourth", "v00")
	if got := n1.counted("fourth"); got <= reached {
		t.Errorf("n1 goes on behind %d; n2 had synced %d", got, reached)
	}
}

// awaitTwoCopies waits until a volume is in sync on two nodes.
func awaitTwoCopies(t *testing.T, n *lab.Node, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := lab.Poll(ctx, name+" being in sync on two nodes", func(ctx context.Context) error {
		out, err := n.Ballast(ctx, "volume", "inspect", name, "--json")
		if err == nil && strings.Count(out, `"in_sync": true`) < 2 {
			err = fmt.Errorf("it is not: %s", out)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
