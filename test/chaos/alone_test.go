package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestMain makes the test binary the user of a volume, too.
func TestMain(m *testing.M) {
	if done, err := actAs(os.Args); done {
		exit(err)
	}
	os.Exit(m.Run())
}

// TestAlone kills and cuts a cluster of one, and judges its users: what is wrong here is
// wrong with a node or with the judge, and not with a cluster.
func TestAlone(t *testing.T) {
	t.Parallel()
	a := newAlone(t, lab.Options{})
	for _, name := range []string{engineKilled, "primary killed", "primary's power cut", "everything stopped"} {
		if err := a.lose(t, name); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
	}
}

// TestAloneFindsLoss proves the harness on an engine that does not sync its log.
func TestAloneFindsLoss(t *testing.T) {
	t.Parallel()
	labtest.Require(t)
	a := newAlone(t, lab.Options{Ballast: seededBinary(t), AgentEnv: []string{"BALLAST_SEEDED_BUG=skip-log-sync"}})
	for range 5 {
		err := a.lose(t, "primary's power cut")
		if errors.Is(err, errWrong) || isLoss(err) {
			t.Logf("found: %.400s", err)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("an engine that does not sync its log lost nothing in five power cuts, as far as anybody noticed")
}

// seededBinary is the binary with mistakes that others made, of which the environment
// chooses one.
func seededBinary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "ballast")
	build := exec.Command("go", "build", "-tags", "seededbugs", "-o", binary, "../../cmd/ballast")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// alone is a cluster of one.
type alone struct {
	*campaign
	n *lab.Node
}

func newAlone(t *testing.T, opts lab.Options) *alone {
	t.Helper()
	opts.Disk = 1 << 30
	c := &campaign{
		options: options{seed: seed(t)},
		rng:     rand.New(rand.NewPCG(seed(t), 1)),
		apis:    map[*lab.Node]*agentapi.Client{},
		c:       labtest.NewCluster(t, 1, lab.ClusterOptions{Machine: opts}),
	}
	a := &alone{c, c.c.Nodes[0]}
	if _, err := c.api(a.n).Create(t.Context(), volumeName, map[string]string{"size": "64M"}); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.user, err = a.attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *alone) attach(ctx context.Context) (next *session, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeLimit)
	defer cancel()
	var why error // of the last refusal
	err = lab.Poll(ctx, "the volume to be attached", func(ctx context.Context) error {
		mountpoint, err := a.api(a.n).Attach(ctx, volumeName, a.holder())
		if err == nil {
			next, err = a.begins(ctx, a.n, mountpoint, false)
		}
		if ctx.Err() == nil {
			why = err
		}
		if isLoss(err) {
			return lab.Hopeless(err)
		}
		return err
	})
	return next, errors.Join(err, why)
}

// isLoss reports whether an attach says that a volume has lost all, or what was durable.
func isLoss(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "its data is not here") || strings.Contains(err.Error(), "cannot be read"))
}

// lose has something happen to the node, and judges what its next user finds.
func (a *alone) lose(t *testing.T, name string) error {
	t.Helper()
	r := &round{campaign: a.campaign, user: a.user, primary: a.n}
	if err := a.user.awaitAcks(t.Context(), 50); err != nil {
		t.Fatalf("before %s: %v", name, err)
	}
	mend, err := find(t, name).strike(t.Context(), r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := mend(t.Context()); err != nil {
		t.Fatalf("mend %s: %v", name, err)
	}
	if name == "everything stopped" {
		return a.user.awaitAcks(t.Context(), 50) // the same user goes on
	}
	if err := r.user.awaitGone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.user, err = a.attach(t.Context()); err != nil {
		return err
	}
	return r.judge(a.user)
}

func find(t *testing.T, name string) fault {
	t.Helper()
	for _, f := range losses() {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("no loss is called %q", name)
	return fault{}
}
