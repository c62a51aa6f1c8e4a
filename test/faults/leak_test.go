package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast/test/lab"
)

var cycles = flag.Int("cycles", 200, "how many volumes come and go in TestNothingLeaks")

// TestNothingLeaks makes, attaches, writes, detaches and removes volumes again and
// again: nothing of them is left, but for the trash (G8).
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	n.lifecycles("warm", 2*lanes) // makes what is made once and kept
	before, goroutines := n.stock(), n.metric("go_goroutines")
	start := time.Now()
	n.lifecycles("v", *cycles)
	took := time.Since(start)
	var after lab.Snapshot
	if err := lab.Poll(t.Context(), "everything to be let go", func(context.Context) error {
		after = n.stock()
		if more := n.metric("go_goroutines") - goroutines; more > 5 { // calls under way, and ours
			return fmt.Errorf("%v goroutines more than before", more)
		}
		if grown := after.Grown(before); len(grown) > 0 {
			return fmt.Errorf("there is more than before: %q", grown)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d cycles in %.1f s, %.0f ms each; goroutines %v before, %v after; memory of the agent %.0f MiB",
		*cycles, took.Seconds(), 1000*took.Seconds()/float64(*cycles), goroutines, n.metric("go_goroutines"), n.metric("process_resident_memory_bytes")/(1<<20))
}

func (n *node) stock() lab.Snapshot {
	n.t.Helper()
	s, err := n.m.Snapshot(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// lanes is how many volumes come and go side by side.
const lanes = 4

func (n *node) lifecycles(prefix string, count int) {
	n.t.Helper()
	var g errgroup.Group
	g.SetLimit(lanes)
	for i := range count {
		g.Go(func() error { return n.lifecycle(fmt.Sprintf("%s%d", prefix, i)) })
	}
	if err := g.Wait(); err != nil {
		n.t.Fatal(err)
	}
}

// lifecycle is a volume's whole life.
func (n *node) lifecycle(name string) error {
	ctx := n.t.Context()
	if _, err := n.tryCreate(ctx, name, "64M"); err != nil {
		return err
	}
	mountpoint, err := n.tryAttach(ctx, name)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(n.outside(mountpoint), "file"))
	if err != nil {
		return err
	}
	_, err = f.WriteString(name)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(n.tryDetach(ctx, name), n.tryRemove(ctx, name))
}
