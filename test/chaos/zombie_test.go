package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// newCampaign is a campaign whose faults the test chooses.
func newCampaign(t *testing.T, nodes int) *campaign {
	t.Helper()
	c := &campaign{
		options: options{seed: seed(t), nodes: nodes, replicas: 2, lease: lease},
		rng:     rand.New(rand.NewPCG(seed(t), 1)),
		apis:    map[*lab.Node]*agentapi.Client{},
	}
	c.c = labtest.NewCluster(t, nodes, lab.ClusterOptions{Machine: lab.Options{
		Disk: 4 << 30, AgentArgs: agentArgs(lease),
	}})
	return c
}

// TestZombie has a container write on a node that nobody reaches any more. When another
// node has taken over, and while the first one is still alone, its container is killed and
// its mount is gone; when it is back, what it wrote alone is not in its copy (G3).
func TestZombie(t *testing.T) {
	c := newCampaign(t, 3)
	n1 := c.c.Nodes[0]
	startDocker(t, n1)
	docker(t, n1, "volume", "create", "-d", "ballast", "-o", "size=64M", "-o", "repl=2", volumeName)
	docker(t, n1, "run", "--detach", "--name", "writer", "--volume", volumeName+":/data", "busybox",
		"sh", "-c", "i=0; while :; do i=$((i+1)); echo $i | busybox dd of=/data/number conv=fsync 2>/dev/null && echo $i; done")
	v, err := c.api(n1).Inspect(t.Context(), volumeName)
	if err != nil {
		t.Fatal(err)
	}
	c.id = v.GetId()
	mountpoint := v.GetMountpoint()

	r := &round{campaign: c, primary: n1}
	if v, err = r.awaitWell(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := c.c.Node(otherThan(agentapi.InSync(v), n1.Name))
	wrote := written(t, n1)
	if err := c.c.Isolate(t.Context(), n1); err != nil {
		t.Fatal(err)
	}
	next, err := r.takeOverAt(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.awaitAcks(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	gone(t, n1, mountpoint)
	t.Logf("the container had written %d, then %d", wrote, written(t, n1))

	if err := c.c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = &round{campaign: c, primary: other, user: next, number: 1}
	r.compare = 1
	if _, err := r.awaitWell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.compareSometimes(t.Context()); err != nil {
		t.Fatal(err)
	}
	next.kill()
}

// gone waits until no container of a node runs and the mount is away.
func gone(t *testing.T, n *lab.Node, mountpoint string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), goneLimit)
	defer cancel()
	err := lab.Poll(ctx, "the container and the mount to be gone", func(ctx context.Context) error {
		running, err := n.Docker(ctx, "ps", "--quiet", "--no-trunc")
		if err == nil && running != "" {
			err = fmt.Errorf("container %s runs", running)
		}
		mounts, merr := n.Output(ctx, "cat", "/proc/self/mountinfo")
		if strings.Contains(mounts, " "+mountpoint+" ") {
			merr = errors.Join(merr, errors.New("the volume is mounted"))
		}
		return errors.Join(err, merr)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func startDocker(t *testing.T, n *lab.Node) {
	t.Helper()
	if err := errors.Join(n.Dockerd.Start(t.Context()), n.ImportImage(t.Context(), "busybox", lab.Busybox())); err != nil {
		t.Fatal(err)
	}
}

func docker(t *testing.T, n *lab.Node, args ...string) string {
	t.Helper()
	out, err := n.Docker(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// written is how far the container says it has come.
func written(t *testing.T, n *lab.Node) (number int) {
	t.Helper()
	err := lab.Poll(t.Context(), "the container to have written", func(ctx context.Context) error {
		text, err := n.Docker(ctx, "logs", "--tail", "1", "writer")
		if err == nil {
			_, err = fmt.Sscan(text, &number)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func otherThan(names []string, name string) string {
	for _, n := range names {
		if n != name {
			return n
		}
	}
	return ""
}
