package main

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"

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
	c := &campaign{
		options: options{seed: 1},
		rng:     rand.New(rand.NewPCG(1, 1)),
		apis:    map[*lab.Node]*agentapi.Client{},
		c:       labtest.NewCluster(t, 1, lab.ClusterOptions{Machine: lab.Options{Disk: 1 << 30}}),
	}
	n := c.c.Nodes[0]
	if _, err := c.api(n).Create(t.Context(), volumeName, map[string]string{"size": "64M"}); err != nil {
		t.Fatal(err)
	}
	attach := func() *session {
		t.Helper()
		var next *session
		err := lab.Poll(t.Context(), "the volume to be attached", func(ctx context.Context) error {
			mountpoint, err := c.api(n).Attach(ctx, volumeName, c.holder())
			if err == nil {
				next, err = c.begins(ctx, n, mountpoint, false)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	c.user = attach()
	began := time.Now()
	for _, name := range []string{engineKilled, "primary killed", "primary's power cut", "everything stopped"} {
		r := &round{campaign: c, user: c.user, primary: n}
		if err := c.user.awaitAcks(t.Context(), 50); err != nil {
			t.Fatalf("before %s: %v", name, err)
		}
		t.Logf("%.1f s: %s", time.Since(began).Seconds(), name)
		mend, err := find(t, name).strike(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := mend(t.Context()); err != nil {
			t.Fatalf("mend %s: %v", name, err)
		}
		if name == "everything stopped" {
			if err := c.user.awaitAcks(t.Context(), 50); err != nil {
				t.Fatal(err)
			}
			continue // the same user goes on
		}
		if err := r.user.awaitGone(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.user = attach()
		if err := r.judge(c.user); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
	}
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
