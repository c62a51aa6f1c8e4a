package agent

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
)

// A9: the agent goes and comes; what is attached stays so, with its holders.
func TestAgentReturns(t *testing.T) {
	m, dir := newMachine(), t.TempDir()
	n, stop := testNode(t, m, dir)
	mustCreate(t, n, "db", nil)
	mustCreate(t, n, "idle", nil)
	mustAttach(t, n, "db", "a")
	mustAttach(t, n, "db", "a")
	stop()
	n, _ = testNode(t, m, dir)
	mustAttach(t, n, "db", "b")
	v, err := n.Inspect("db")
	if err != nil || v.record.Epoch != 1 || !slices.Equal(v.holders, []string{"a", "a", "b"}) {
		t.Errorf("after the return: epoch %d, holders %v, %v; want 1, [a a b]", v.record.Epoch, v.holders, err)
	}
	if got := m.count("spawn"); got != 1 {
		t.Errorf("%d engines were started; want 1", got)
	}
	for _, h := range []string{"a", "a", "b"} {
		mustDetach(t, n, "db", h)
	}
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What the last agent left half done, and what died while none ran.
func TestAgentReturnsTo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		leave  func(t *testing.T, m *machine, n *node, v volumeView)
		want   state
		engine int // started until somebody has attached again
	}{
		{"an engine that died", func(_ *testing.T, m *machine, _ *node, _ volumeView) { m.kill() }, stateFailed, 2},
		{"an engine without a device", func(_ *testing.T, m *machine, _ *node, _ volumeView) {
			m.set(func() { clear(m.devices) })
		}, stateDetached, 2},
		{"a mount without a holder", func(t *testing.T, _ *machine, n *node, v volumeView) {
			edit(t, n, v.record.ID, func(a attachmentState) attachmentState { a.Holders = nil; return a })
		}, stateAttached, 1},
		{"another boot", func(t *testing.T, m *machine, n *node, v volumeView) {
			m.set(func() { clear(m.devices); clear(m.engines) })
			edit(t, n, v.record.ID, func(a attachmentState) attachmentState { a.BootID = "other"; return a })
		}, stateDetached, 2},
		{"holders that cannot be read", func(t *testing.T, m *machine, n *node, v volumeView) {
			m.set(func() { clear(m.devices); clear(m.engines) })
			if err := os.WriteFile(n.path(volumeDir(v.record.ID), attachmentFile), []byte("{torn"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, stateDetached, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, dir := newMachine(), t.TempDir()
			n, stop := testNode(t, m, dir)
			v := mustCreate(t, n, "db", nil)
			mustAttach(t, n, "db", "old")
			stop()
			tt.leave(t, m, n, v)
			n, _ = testNode(t, m, dir)
			if err := n.waitAdopted(t.Context()); err != nil {
				t.Fatal(err)
			}
			// A mount without a holder may be unmounted by now.
			if got := stateOf(t, n, "db"); got != tt.want && tt.name != "a mount without a holder" {
				t.Errorf("state = %s; want %s", got, tt.want)
			}
			mustAttach(t, n, "db", "new")
			if v, _ := n.Inspect("db"); !slices.Equal(v.holders, []string{"new"}) {
				t.Errorf("held by %v; want only the new one", v.holders)
			}
			mustDetach(t, n, "db", "new")
			if left := m.left(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// edit changes what is remembered of a volume while no agent runs.
func edit(t *testing.T, n *node, id ballast.VolumeID, change func(attachmentState) attachmentState) {
	t.Helper()
	a, err := loadAttachment(n.disk, volumeDir(id), n.boot)
	if err == nil {
		err = saveAttachment(n.disk, volumeDir(id), change(a))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// C4, A5: without etcd, known volumes are answered and unknown ones are not "not
// found"; changes are refused and change nothing.
func TestWithoutRecords(t *testing.T) {
	m, dir := newMachine(), t.TempDir()
	n, stop := testNode(t, m, dir)
	mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	stop()
	if err := os.Rename(n.path(recordsDir), n.path("away")); err != nil {
		t.Fatal(err)
	}
	n, run := idleNode(t, m, dir)
	ctx, cancel := newContext(t)
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err == nil {
			t.Error("the agent says nothing of records that are gone")
		}
	}()
	if err := n.waitAdopted(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stateOf(t, n, "db"); got != stateAttached {
		t.Errorf("known volume: %s; want attached", got)
	}
	if _, err := n.Inspect("nosuch"); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("unknown volume: %v; want not ready", err)
	}
	mustAttach(t, n, "db", "b") // it is mounted already
	for _, h := range []string{"a", "b"} {
		mustDetach(t, n, "db", h)
	}
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	eventually(t, "condition", func() bool {
		c := n.health.of("")
		return len(c) > 0 && c[0].code == condRecords
	})
	short, cancelShort := newContext(t)
	cancelShort()
	if _, err := n.Create(short, "new", nil); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("create: %v; want not ready", err)
	}
}

func TestTrash(t *testing.T) {
	m := newMachine()
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	if _, err := n.Remove(t.Context(), "db"); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("remove while held: %v; want in use", err)
	}
	mustDetach(t, n, "db", "a")
	until, err := n.Remove(t.Context(), "db")
	if err != nil {
		t.Fatal(err)
	}
	if kept := time.Until(until); kept <= 59*time.Minute || kept > time.Hour {
		t.Errorf("kept for %s; want an hour", kept)
	}
	if _, err := n.Inspect("db"); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("inspect removed: %v; want not found", err)
	}
	if !exists(n.path(volumeDir(v.record.ID), "image")) {
		t.Error("files of a removed volume are gone")
	}
	if trash, err := n.List(true); err != nil || len(trash) != 1 || trash[0].state != stateTrash {
		t.Errorf("trash = %v, %v; want the volume", trash, err)
	}
	if _, err := n.Restore(t.Context(), "db", ""); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, n, "db", "a")
	mustDetach(t, n, "db", "a")
	if _, err := n.Remove(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	n.purge(t.Context(), n.slot(v.record.ID))
	if exists(n.path(volumeDir(v.record.ID))) {
		t.Error("files of a purged volume are still there")
	}
	if trash, err := n.List(true); err != nil || len(trash) != 0 {
		t.Errorf("trash = %v, %v; want it empty", trash, err)
	}
}

// A purge that a crash interrupts is finished, and cannot be escaped from.
func TestPurgeIsFinished(t *testing.T) {
	m, dir := newMachine(), t.TempDir()
	n, stop := testNode(t, m, dir)
	v := mustCreate(t, n, "db", nil)
	if _, err := n.Remove(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.records.BeginPurge(t.Context(), v.record.ID); err != nil {
		t.Fatal(err)
	}
	stop()
	n, _ = testNode(t, m, dir)
	eventually(t, "purge", func() bool {
		n.tidy(t.Context())
		return len(n.records.Trash()) == 0
	})
}

func TestStaleHolds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		used   map[string]bool // nil: docker does not answer
		holder string
		ok     bool // the volume can be removed
	}{
		{"no container uses it", map[string]bool{}, dockerHolder + "x", true},
		{"a container uses it", map[string]bool{"db": true}, dockerHolder + "x", false},
		{"docker does not answer", nil, dockerHolder + "x", false},
		{"another kind of holder", map[string]bool{}, "me", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine()
			n, _ := testNode(t, m, t.TempDir())
			m.set(func() { m.used = tt.used })
			mustCreate(t, n, "db", nil)
			mustAttach(t, n, "db", tt.holder)
			if _, err := n.Remove(t.Context(), "db"); (err == nil) != tt.ok {
				t.Errorf("remove = %v; want ok %t", err, tt.ok)
			}
			if left := m.left(); (len(left) == 0) != tt.ok {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A hold that is young is not doubted: Docker lists a container only after it has
// mounted its volumes for the first time.
func TestYoungHoldIsNotDoubted(t *testing.T) {
	m := newMachine()
	m.used = map[string]bool{}
	n, _ := testNode(t, m, t.TempDir())
	v := mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", dockerHolder+"x")
	s := n.slot(v.record.ID)
	n.reconcile(t.Context())
	n.dropOld(t.Context(), s)
	if got := stateOf(t, n, "db"); got != stateAttached {
		t.Fatalf("state = %s; want attached", got)
	}
	state := s.remembered()
	state.Holders = map[string]hold{dockerHolder + "x": {Count: 2, Since: sinceBoot() - 2*holdGrace}}
	if err := n.remember(s, state); err != nil {
		t.Fatal(err)
	}
	// The node looks by itself as well, and whoever of the two is first does it.
	eventually(t, "letting go of it", func() bool {
		n.dropOld(t.Context(), s)
		return stateOf(t, n, "db") == stateDetached
	})
}
