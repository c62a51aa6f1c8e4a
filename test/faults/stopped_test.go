package faults

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
)

// The tests of this file are about G7 as the API shows it; test/docker has it as
// Docker does.

// callLimit is how long a call may take, whatever is down: less than Docker waits.
const callLimit = 55 * time.Second

// TestEngineStopped stops an engine in its tracks: every call on another volume
// does what it should, every call that asks is answered, and every call on the stuck
// volume ends.
func TestEngineStopped(t *testing.T) {
	t.Parallel() // it waits most of the time
	n := newNode(t, nil)
	n.create("stuck", "64M")
	n.attach("stuck")
	n.signalEngine("stuck", "STOP")
	for _, c := range []struct {
		name string
		call func(context.Context) error
	}{
		{"create another", func(ctx context.Context) error { _, err := n.tryCreate(ctx, "other", "64M"); return err }},
		{"attach another", func(ctx context.Context) error { _, err := n.tryAttach(ctx, "other"); return err }},
		{"list", n.list},
		{"status", n.status},
		{"inspect", func(ctx context.Context) error { return n.tryInspect(ctx, "stuck") }},
		{"inspect another", func(ctx context.Context) error { return n.tryInspect(ctx, "other") }},
		{"detach another", func(ctx context.Context) error { return n.tryDetach(ctx, "other") }},
		{"resize another", func(ctx context.Context) error { return n.tryResize(ctx, "other", "128M") }},
		{"remove another", func(ctx context.Context) error { return n.tryRemove(ctx, "other") }},
		{"restore another", func(ctx context.Context) error { return n.tryRestore(ctx, "other") }},
	} {
		if err := within(t, c.call); err != nil {
			t.Errorf("%s: %v; want what a healthy node answers", c.name, err)
		}
	}
	if _, err := n.tryAttach(t.Context(), "stuck"); err == nil {
		t.Error("attached to an engine that is stopped")
	}
	var calls sync.WaitGroup // at once: each may take its whole budget
	for name, call := range map[string]func(context.Context) error{
		"resize": func(ctx context.Context) error { return n.tryResize(ctx, "stuck", "128M") },
		"remove": func(ctx context.Context) error { return n.tryRemove(ctx, "stuck") },
		"detach": func(ctx context.Context) error { return n.tryDetach(ctx, "stuck") },
	} {
		calls.Go(func() {
			err := within(t, call)
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s of the stuck volume: no answer", name)
			}
			t.Logf("%s of the stuck volume: %v", name, err)
		})
	}
	calls.Wait()
	if err := within(t, n.list); err != nil {
		t.Errorf("list after all that: %v", err)
	}
	n.signalEngine("stuck", "CONT")
}

// TestAgentStopped stops the agent in its tracks: volumes are written on, and calls
// end with their callers' patience; afterwards all is as before.
func TestAgentStopped(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	n.create("db", "64M")
	mountpoint := n.attach("db")
	if err := n.m.Agent.Freeze(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(n.outside(mountpoint), "file"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("written without an agent")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := n.list(ctx); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("list without an agent: %v; want the deadline exceeded", err)
	}
	if err := n.m.Agent.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := within(t, n.list); err != nil {
		t.Errorf("list after the thaw: %v", err)
	}
	if got := n.inspect("db"); got.GetState() != "attached" || got.GetMountpoint() != mountpoint {
		t.Errorf("after the thaw: %v; want it attached at %s", got, mountpoint)
	}
	n.detach("db")
}

// within makes a call that must end within its limit.
func within(t *testing.T, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()
	err := call(ctx)
	return errors.Join(err, ctx.Err())
}

// signalEngine sends a signal to the engine of an attached volume.
func (n *node) signalEngine(name, signal string) {
	n.t.Helper()
	pid := int32(0)
	n.eventually("the engine's process id", func(context.Context) error {
		if pid = n.inspect(name).GetEngine().GetPid(); pid == 0 {
			return errors.New("not known yet")
		}
		return nil
	})
	if _, err := n.m.Output(n.t.Context(), "/bin/kill", "-s", signal, strconv.Itoa(int(pid))); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) list(ctx context.Context) error {
	_, err := n.volumes.List(ctx, connect.NewRequest(&v1.ListRequest{}))
	return err
}

func (n *node) status(ctx context.Context) error {
	_, err := n.nodes.Status(ctx, connect.NewRequest(&v1.StatusRequest{}))
	return err
}

func (n *node) tryInspect(ctx context.Context, name string) error {
	_, err := n.volumes.Inspect(ctx, connect.NewRequest(&v1.InspectRequest{Name: name}))
	return err
}

func (n *node) tryResize(ctx context.Context, name, size string) error {
	_, err := n.volumes.Resize(ctx, connect.NewRequest(&v1.ResizeRequest{Name: name, Size: size}))
	return err
}

func (n *node) tryRestore(ctx context.Context, name string) error {
	_, err := n.volumes.Restore(ctx, connect.NewRequest(&v1.RestoreRequest{Name: name}))
	return err
}
