package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/ballast-io/ballast"
)

func TestAttachAndDetach(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	if got := stateOf(t, n, "db"); got != stateAttached {
		t.Errorf("state = %s; want attached", got)
	}
	mustAttach(t, n, "db", "a") // docker cp: the same ID again
	mustAttach(t, n, "db", "b")
	for _, holder := range []string{"a", "a"} {
		mustDetach(t, n, "db", holder)
		if got := stateOf(t, n, "db"); got != stateAttached {
			t.Fatalf("state = %s while somebody holds it; want attached", got)
		}
	}
	mustDetach(t, n, "db", "nobody") // never attached: no error, nothing happens
	mustDetach(t, n, "db", "b")
	if got := stateOf(t, n, "db"); got != stateDetached {
		t.Errorf("state = %s; want detached", got)
	}
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if got := m.count("spawn"); got != 1 {
		t.Errorf("%d engines were started; want 1", got)
	}
	mustAttach(t, n, "db", "a")
	if v, _ := n.Inspect("db"); v.record.Epoch != 2 {
		t.Errorf("epoch = %d after the second attach; want 2", v.record.Epoch)
	}
	mustDetach(t, n, "db", "a")
}

// Many attach at once: one engine, one mount, every hold counts.
func TestAttachesAtOnceShareOne(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	mustCreate(t, n, "db", nil)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := n.Attach(t.Context(), "db", fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := m.count("spawn"); got != 1 {
		t.Errorf("%d engines were started; want 1", got)
	}
	for i := range 20 {
		all.Go(func() {
			if err := n.Detach(t.Context(), "db", fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Attaches and detaches of several volumes cross each other; nothing stays.
func TestAttachDetachStorm(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	var all sync.WaitGroup
	for v := range 4 {
		name := fmt.Sprintf("v%d", v)
		mustCreate(t, n, name, nil)
		for h := range 4 {
			all.Go(func() {
				for range 10 {
					if _, err := n.Attach(t.Context(), name, fmt.Sprint(h)); err != nil {
						t.Error(err)
						return
					}
					if err := n.Detach(t.Context(), name, fmt.Sprint(h)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A step that fails leaves nothing behind, and the next attach succeeds.
func TestFailedAttachLeavesNothing(t *testing.T) {
	for _, step := range []string{"spawn", "status", "attach", "dial", "sweep"} {
		t.Run(step, func(t *testing.T) {
			m := newMachine()
			n, _ := testNode(t, m, t.TempDir())
			mustCreate(t, n, "db", nil)
			broken := errors.New("broken on purpose")
			m.set(func() { m.fail[step] = broken })
			if _, err := n.Attach(t.Context(), "db", "a"); !errors.Is(err, broken) {
				t.Errorf("attach = %v; want the reason", err)
			}
			m.set(func() { delete(m.fail, step) })
			if v, _ := n.Inspect("db"); v.state != stateDetached || len(v.holders) != 0 {
				t.Errorf("afterwards %s, held by %v; want detached", v.state, v.holders)
			}
			if left := m.left(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			mustAttach(t, n, "db", "a")
			mustDetach(t, n, "db", "a")
		})
	}
}

// Docker gives up on a mount and never sends the unmount (A3).
func TestAttachNobodyWaitsForIsTakenBack(t *testing.T) {
	for _, step := range []string{"spawn", "status", "attach"} {
		t.Run(step, func(t *testing.T) {
			m := newMachine()
			n, _ := testNode(t, m, t.TempDir())
			mustCreate(t, n, "db", nil)
			m.set(func() { m.hang[step] = make(chan struct{}) })
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() { _, err := n.Attach(ctx, "db", "a"); failed <- err }()
			eventually(t, step, func() bool { return m.count(step) > 0 })
			if got := stateOf(t, n, "db"); got != stateAttaching {
				t.Errorf("state = %s; want attaching", got)
			}
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("attach = %v; want canceled", err)
			}
			m.set(func() { delete(m.hang, step) })
			eventually(t, "taking back", func() bool { return len(m.left()) == 0 && stateOf(t, n, "db") == stateDetached })
			mustAttach(t, n, "db", "b")
			if v, _ := n.Inspect("db"); !slices.Equal(v.holders, []string{"b"}) {
				t.Errorf("held by %v; want only b", v.holders)
			}
			mustDetach(t, n, "db", "b")
		})
	}
}

// One of two that wait goes; the other gets its mount.
func TestAttachSurvivesOneOfTwoWaiters(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	hang := make(chan struct{})
	m.set(func() { m.hang["spawn"] = hang })
	ctx, cancel := context.WithCancel(t.Context())
	gone, stays := make(chan error, 1), make(chan error, 1)
	go func() { _, err := n.Attach(ctx, "db", "gone"); gone <- err }()
	eventually(t, "spawn", func() bool { return m.count("spawn") > 0 })
	go func() { _, err := n.Attach(t.Context(), "db", "stays"); stays <- err }()
	s := n.slot(v.record.ID)
	eventually(t, "second waiter", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.flight != nil && len(s.flight.waiting) == 2
	})
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("attach = %v; want canceled", err)
	}
	close(hang)
	if err := <-stays; err != nil {
		t.Fatal(err)
	}
	if v, _ := n.Inspect("db"); !slices.Equal(v.holders, []string{"stays"}) {
		t.Errorf("held by %v; want only the one that waited", v.holders)
	}
	mustDetach(t, n, "db", "stays")
}

// A4, A5: an engine that hangs keeps nobody waiting but who wants its volume.
func TestHangingVolumeBlocksNoOther(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	mustCreate(t, n, "hangs", nil)
	mustCreate(t, n, "works", nil)
	hang := make(chan struct{})
	m.set(func() { m.hang["spawn"] = hang })
	ctx, cancel := context.WithCancel(t.Context())
	hanging := make(chan error, 1)
	go func() { _, err := n.Attach(ctx, "hangs", "a"); hanging <- err }()
	eventually(t, "spawn", func() bool { return m.count("spawn") > 0 })
	m.set(func() { delete(m.hang, "spawn") })
	mustAttach(t, n, "works", "b")
	if all, err := n.List(false); err != nil || len(all) != 2 {
		t.Errorf("list = %d volumes, %v; want 2", len(all), err)
	}
	mustDetach(t, n, "works", "b")
	cancel()
	if err := <-hanging; !errors.Is(err, context.Canceled) {
		t.Errorf("attach = %v; want canceled", err)
	}
	eventually(t, "taking back", func() bool { return len(m.left()) == 0 })
}

// The engine is stopped (SIGSTOP) while the volume is attached: a second mount is
// refused rather than left to hang.
func TestAttachToSilentEngineIsRefused(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	hang := make(chan struct{})
	m.set(func() { m.hang["status"] = hang })
	if _, err := n.Attach(t.Context(), "db", "b"); err == nil {
		t.Error("attached to an engine that does not answer")
	}
	if v, _ := n.Inspect("db"); !slices.Equal(v.holders, []string{"a"}) {
		t.Errorf("held by %v; want only a", v.holders)
	}
	m.set(func() { delete(m.hang, "status") })
	close(hang)
	mustDetach(t, n, "db", "a")
}

// A8: an engine dies; the next attach starts afresh, and old holds are void.
func TestEngineDies(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "old")
	m.kill()
	eventually(t, "noticing", func() bool { return stateOf(t, n, "db") == stateFailed })
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if c := n.health.of(v.record.ID); len(c) != 1 || c[0].code != condEngineFailed {
		t.Errorf("conditions = %+v; want engine-failed", c)
	}
	mustDetach(t, n, "db", "old")
	mustAttach(t, n, "db", "new")
	got, _ := n.Inspect("db")
	if got.record.Epoch != 2 || !slices.Equal(got.holders, []string{"new"}) || len(got.conditions) != 0 {
		t.Errorf("afterwards epoch %d, holders %v, conditions %v; want epoch 2, new, none", got.record.Epoch, got.holders, got.conditions)
	}
	mustDetach(t, n, "db", "new")
}

// An attach that finds a dead engine, before anybody noticed, starts afresh.
func TestAttachFindsDeadEngine(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "old")
	m.kill()
	mustAttach(t, n, "db", "new")
	if v, _ := n.Inspect("db"); v.record.Epoch != 2 || !slices.Equal(v.holders, []string{"new"}) {
		t.Errorf("epoch %d, holders %v; want 2, new", v.record.Epoch, v.holders)
	}
	mustDetach(t, n, "db", "new")
}

// Docker has unmounted, but a container in another namespace keeps the device.
func TestBusyUnmountIsRepeated(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	busy := func(is bool) {
		m.set(func() {
			for _, d := range m.devices {
				d.busy = is
			}
		})
	}
	busy(true)
	if err := n.Detach(t.Context(), "db", "a"); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("detach = %v; want in use", err)
	}
	if c := n.health.of(v.record.ID); len(c) != 1 || c[0].code != condStillMounted {
		t.Errorf("conditions = %+v; want still-mounted", c)
	}
	if _, err := n.Remove(t.Context(), "db"); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("remove = %v; want in use", err)
	}
	// Who attaches now gets a mount, not the folder where it was.
	mustAttach(t, n, "db", "b")
	if got := m.count("attach"); got != 2 {
		t.Errorf("mounted %d times; want 2", got)
	}
	busy(true)
	if err := n.Detach(t.Context(), "db", "b"); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("detach = %v; want in use", err)
	}
	busy(false)
	n.tidyVolume(t.Context(), n.slot(v.record.ID))
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A7: files that are missing, and a filesystem that was there once, are not made
// anew.
func TestLostDataIsNotReplaced(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	file := n.path(volumeDir(v.record.ID), deviceName)
	if !m.devices[file].spec.MayFormat {
		t.Error("a new volume may not be formatted")
	}
	mustDetach(t, n, "db", "a")
	mustAttach(t, n, "db", "a")
	if m.devices[file].spec.MayFormat {
		t.Error("a volume that was in use may be formatted")
	}
	mustDetach(t, n, "db", "a")
	if err := os.RemoveAll(n.path(volumeDir(v.record.ID))); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Attach(t.Context(), "db", "a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("attach without files = %v; want it refused", err)
	}
}

func TestScratchIsFreshEachTime(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "tmp", map[string]string{"class": "scratch"})
	dir := volumeDir(v.record.ID)
	for epoch := range ballast.Epoch(3) {
		mustAttach(t, n, "tmp", "a")
		if got, _ := n.Inspect("tmp"); got.record.Epoch != epoch+1 {
			t.Errorf("epoch = %d; want %d", got.record.Epoch, epoch+1)
		}
		if !m.devices[n.path(dir, deviceName)].spec.MayFormat {
			t.Error("a scratch volume may not be formatted")
		}
		if exists(n.path(dir, "image.mark")) {
			t.Error("files of the last time are still there")
		}
		if err := os.WriteFile(n.path(dir, "image.mark"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		mustDetach(t, n, "tmp", "a")
	}
}

// A step of the unmounting fails: nothing is forced, and it is done later.
func TestFailedUnmountIsRepeated(t *testing.T) {
	for _, step := range []string{"detach", "stop"} {
		t.Run(step, func(t *testing.T) {
			m := newMachine()
			n, _ := testNode(t, m, t.TempDir())
			v := mustCreate(t, n, "db", nil)
			mustAttach(t, n, "db", "a")
			broken := errors.New("broken on purpose")
			m.set(func() { m.fail[step] = broken })
			if err := n.Detach(t.Context(), "db", "a"); !errors.Is(err, broken) {
				t.Errorf("detach = %v; want the reason", err)
			}
			if got := stateOf(t, n, "db"); got != stateAttached {
				t.Errorf("state = %s; want attached", got)
			}
			m.set(func() { delete(m.fail, step) })
			n.tidyVolume(t.Context(), n.slot(v.record.ID))
			if left := m.left(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// An engine that is stuck is ended by force when patience is over.
func TestStuckUnmountIsForced(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	m.set(func() { m.hang["detach"] = make(chan struct{}) })
	s := n.slot(v.record.ID)
	if err := n.acquire(t.Context(), s, "testing"); err != nil {
		t.Fatal(err)
	}
	over, cancel := newContext(t)
	cancel()
	if err := n.unmount(over, s); !errors.Is(err, context.Canceled) {
		t.Errorf("unmount = %v; want canceled", err)
	}
	s.release()
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	m.set(func() { delete(m.hang, "detach") })
	mustAttach(t, n, "db", "b")
	mustDetach(t, n, "db", "b")
}

func TestResize(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	file := n.path(volumeDir(v.record.ID), deviceName)
	mustAttach(t, n, "db", "a")
	if _, err := n.Resize(t.Context(), "db", "20G"); err != nil {
		t.Fatal(err)
	}
	if got := m.devices[file].size; got != 20<<30 {
		t.Errorf("attached: the filesystem has %d; want 20 GiB", got)
	}
	if _, err := n.Resize(t.Context(), "db", "5G"); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("shrink = %v; want it refused", err)
	}
	mustDetach(t, n, "db", "a")
	if _, err := n.Resize(t.Context(), "db", "30G"); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, n, "db", "a")
	if got := m.devices[file].size; got != 30<<30 {
		t.Errorf("detached: the filesystem has %d at the next attach; want 30 GiB", got)
	}
	mustDetach(t, n, "db", "a")
}
