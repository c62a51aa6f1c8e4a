package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// patient is the lease where a test tells a story of its own: a node that is taken over because the
// machine is busy with other things is not in it, as it is in a campaign.
const patient = 2 * lease

// newCampaign is a campaign whose faults the test chooses.
func newCampaign(t *testing.T, nodes int) *campaign {
	t.Helper()
	c := &campaign{
		options: options{seed: seed(t), nodes: nodes, replicas: 2, lease: patient},
		rng:     rand.New(rand.NewPCG(seed(t), 1)),
		apis:    map[*lab.Node]*agentapi.Client{},
	}
	c.c = labtest.NewCluster(t, nodes, lab.ClusterOptions{Machine: lab.Options{
		Disk: 4 << 30, AgentArgs: agentArgs(patient),
	}})
	return c
}

// TestZombie has a container write on a node that nobody reaches any more. When another
// node has taken over, and while the first one is still alone, its container is killed and
// its mount is gone; when it is back, what it wrote alone is not in its copy (G3).
func TestZombie(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, 3)
	n1 := c.c.Nodes[0]
	startDocker(t, n1)
	docker(t, n1, "volume", "create", "-d", "ballast", "-o", "size=64M", "-o", "repl=2", volumeName)
	docker(t, n1, "run", "--detach", "--name", "writer", "--volume", volumeName+":/data", "busybox",
		"sh", "-c", zombie)
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
	written(t, n1)
	leaveTail(t, c, n1, other)
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
	then := written(t, n1)
	gone(t, n1, mountpoint)
	if now := written(t, n1); now != then {
		t.Errorf("number %d was acknowledged on %s, and then %d, when %s had acknowledged something", then, n1.Name, now, other.Name)
	}
	if kept := number(t, next); kept != then && kept != then+1 { // the next one may be there, unacknowledged
		t.Errorf("number %d was acknowledged on %s, and %s has %d", then, n1.Name, other.Name, kept)
	}
	next.kill() // a copy has all to itself now

	healed := time.Now()
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
	r.follower = n1
	if err := r.learn(healed); err != nil || !slices.Contains(r.rebuilt.ways, cutOff) {
		t.Errorf("what %s wrote alone was not cut: %v %v", n1.Name, r.rebuilt.ways, err)
	}
}

// leaveTail has a primary write something that its follower never gets: it goes on hearing
// acknowledgements of what came before, so that it writes the next.
func leaveTail(t *testing.T, c *campaign, primary, follower *lab.Node) {
	t.Helper()
	if err := c.c.CutOneWay(t.Context(), primary, follower); err != nil {
		t.Fatal(err)
	}
	stuck := uint64(0)
	err := lab.Poll(t.Context(), "a record that is on one disk only", func(ctx context.Context) error {
		v, err := c.api(primary).Inspect(ctx, volumeName)
		if err != nil {
			return err
		}
		durable, committed := v.GetEngine().GetDurableLsn(), v.GetEngine().GetCommittedLsn()
		if before := stuck; durable <= committed || committed != before {
			stuck = committed
			return fmt.Errorf("record %d is committed, and %d durable", committed, durable)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// zombie writes numbers, and says each one when it is durable. Others write beside it, so that
// there is always something that nobody has acknowledged yet.
const zombie = `
	for name in a b c; do
		while :; do busybox dd if=/dev/urandom of=/data/$name bs=16k count=1 conv=fsync 2>/dev/null; done &
	done
	i=0
	while i=$((i+1)); do echo $i | busybox dd of=/data/number conv=notrunc,fsync 2>/dev/null && echo $i; done`

// number is the one that the volume has where it is now.
func number(t *testing.T, at *session) (n int) {
	t.Helper()
	text, err := at.node.Output(t.Context(), "cat", at.mountpoint+"/number")
	if err == nil {
		_, err = fmt.Sscan(text, &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
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
