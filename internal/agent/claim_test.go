package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/volume"
)

func TestChooseWay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		class  ballast.Class
		inSync []ballast.NodeID
		here   bool
		want   way
	}{
		{"never attached", ballast.Primary, nil, false, wayOwn},
		{"in sync here", ballast.Primary, []ballast.NodeID{"n2", "n1"}, true, wayOwn},
		{"the only one, whose files are missing", ballast.Primary, []ballast.NodeID{"n1"}, false, wayOwn}, // refused (A7)
		{"in sync here, and the disk is new", ballast.Primary, []ballast.NodeID{"n1", "n2"}, false, wayHollow},
		{"a stale copy here", ballast.Primary, []ballast.NodeID{"n2"}, true, wayHollow},
		{"no copy here", ballast.Clustered, []ballast.NodeID{"n2", "n3"}, false, wayHollow},
		{"scratch", ballast.Scratch, []ballast.NodeID{"n2"}, false, wayEmpty},
		{"a cache elsewhere", ballast.Cache, []ballast.NodeID{"n2"}, false, wayHollow},
	} {
		rec := cluster.Record{InSync: tt.inSync, Formatted: true, Spec: ballast.VolumeSpec{Class: tt.class}}
		if got := chooseWay(rec, "n1", tt.here); got != tt.want {
			t.Errorf("%s: way %d; want %d", tt.name, got, tt.want)
		}
	}
}

// A node that dies in the very first attach keeps nobody from the volume: where no filesystem
// ever was nothing was written.
func TestFirstAttachThatDied(t *testing.T) {
	n, peers, _ := among(t, newMachine())
	rec := adoptElsewhere(t, n, "n2")
	peers.set(func() { peers.err["n2"] = errors.New("cut off") })
	for _, here := range []bool{true, false} {
		never := rec
		never.Formatted = false
		if got := chooseWay(never, "n1", here); got != wayEmpty {
			t.Errorf("way %d with files here: %t; want %d", got, here, wayEmpty)
		}
		next, err := cluster.DecideClaim(never, "n1", wayEmpty.request(0))
		if err != nil || !slices.Equal(next.InSync, []ballast.NodeID{"n1"}) {
			t.Errorf("claim of what never was formatted = %+v, %v; want it in sync here", next, err)
		}
	}
	if _, err := cluster.DecideClaim(rec, "n1", wayEmpty.request(0)); !errors.Is(err, ballast.ErrNoCopy) {
		t.Errorf("claim of what was formatted = %v; want ErrNoCopy", err)
	}
}

// The copy that a hollow one shall be filled from is whole before the claim, which may take
// the only other one out of the in-sync set.
func TestHollowNeedsAWholeCopy(t *testing.T) {
	n, peers, _ := among(t, newMachine())
	rec := adoptElsewhere(t, n, "n2", "n3")
	peers.set(func() {
		peers.err["n3"] = errors.New("cut off")
		peers.copies["n2"] = copyState{Here: true}
		peers.points["n2"] = receiver.Point{LSN: 9, Size: 64 << 20, Lineage: volume.Lineage{{Epoch: 2, From: 1}}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := n.Attach(ctx, "db", "a"); err == nil {
		t.Fatal("attached from a copy that lacks chunks")
	}
	if got, err := n.records.ByID(rec.ID); err != nil || got.Epoch != rec.Epoch || got.Primary != "" || len(got.InSync) != 2 {
		t.Errorf("record = %+v, %v; want it as it was", got, err)
	}
	peers.set(func() { delete(peers.copies, "n2") }) // it is whole
	mustAttach(t, n, "db", "a")
	mustDetach(t, n, "db", "a")
}

// among runs a node n1 of a cluster of three, whose others do as peers says.
func among(t *testing.T, m *machine) (*node, *fakePeers, *fakeFollowing) {
	t.Helper()
	peers, following := newFakePeers(), newFakeFollowing()
	n, run := idleNode(t, m, t.TempDir())
	n.peers, n.following = peers, following
	runNode(t, run)
	for _, name := range []ballast.NodeID{"n1", "n2", "n3"} {
		if _, err := n.records.PutNode(t.Context(), cluster.Node{Name: name, Address: string(name) + ":1", Generation: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return n, peers, following
}

// adoptElsewhere makes a volume whose copies are on other nodes.
func adoptElsewhere(t *testing.T, n *node, inSync ...ballast.NodeID) cluster.Record {
	t.Helper()
	spec := ballast.DefaultVolumeSpec()
	rec, err := n.records.Adopt(t.Context(), cluster.Record{ID: cluster.NewVolumeID(), Name: "db", Spec: spec, Epoch: 4, InSync: inSync, Copies: inSync, Formatted: true})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// A19: an attach where no copy is makes the one there ready first, under the new epoch, and
// then starts on files without content, which come from there.
func TestAttachWithoutCopy(t *testing.T) {
	m := newMachine()
	n, peers, following := among(t, m)
	rec := adoptElsewhere(t, n, "n3", "n2")
	peers.fill = 0xa7
	peers.set(func() {
		peers.err["n3"] = errors.New("cut off")
		peers.points["n2"] = receiver.Point{LSN: 9, Size: 64 << 20, Lineage: volume.Lineage{{Epoch: 2, From: 1}, {Epoch: 4, From: 6}}}
	})
	mustAttach(t, n, "db", "a")
	got, err := n.records.ByID(rec.ID)
	if err != nil || got.Primary != "n1" || slices.Contains(got.InSync, "n1") || !slices.Contains(got.Copies, "n1") {
		t.Errorf("record = %+v, %v; want it led here, and not in sync here", got, err)
	}
	if following.taken[rec.ID] != got.Epoch {
		t.Errorf("taken under epoch %d; want %d", following.taken[rec.ID], got.Epoch)
	}
	if id, err := volume.ReadIdentity(n.disk, volumeDir(rec.ID)); err != nil || id.Size != 64<<20 {
		t.Errorf("files = %+v, %v; want those of the copy on n2", id, err)
	}
	opened, err := volume.Open(n.disk, volumeDir(rec.ID), volume.Options{Epoch: got.Epoch}) // as its engine does
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	n.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/chunks/"+string(rec.ID)+"/3", nil))
	if want := bytes.Repeat([]byte{0xa7}, ballast.ChunkSize); w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), want) {
		t.Errorf("chunk: %d with %d bytes", w.Code, w.Body.Len())
	}
	peers.set(func() {
		if want := fmt.Sprintf("n2 chunk 3 for %d from 10 after %d", got.Epoch, got.Epoch-1); !slices.Contains(peers.calls, want) {
			t.Errorf("asked %q; want %q among it: of copies that follow this writer only", peers.calls, want)
		}
	})
	m.mu.Lock()
	members := m.engines[n.path(volumeDir(rec.ID))].members
	m.mu.Unlock()
	if members.Epoch != got.Epoch || members.Session == 0 || len(members.Copies) != 2 || members.Copies[0].Address == "" {
		t.Errorf("members = %+v; want both others, with their addresses, under a session", members)
	}
	mustDetach(t, n, "db", "a")
	if got, _ := n.records.ByID(rec.ID); got.Primary != "" || slices.Contains(got.InSync, "n1") {
		t.Errorf("record = %+v after the detach", got)
	}
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Nothing stays of an attach that found no copy to read, and the error says what can be done.
func TestAttachWithoutReachableCopy(t *testing.T) {
	m := newMachine()
	n, peers, _ := among(t, m)
	rec := adoptElsewhere(t, n, "n2")
	peers.set(func() { peers.err["n2"] = errors.New("cut off") })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := n.Attach(ctx, "db", "a"); err == nil {
		t.Fatal("attached without a copy")
	}
	eventually(t, "it is released", func() bool {
		got, err := n.records.ByID(rec.ID)
		return err == nil && got.Primary == "" && slices.Equal(got.InSync, []ballast.NodeID{"n2"})
	})
	if left := m.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A17: another session of the node is told to the engines once a quorum was asked, and not
// before.
func TestNextSession(t *testing.T) {
	m := newMachine()
	n, _, _ := among(t, m)
	mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "a")
	v, err := n.Inspect("db")
	if err != nil {
		t.Fatal(err)
	}
	told := func() uint64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.engines[n.path(volumeDir(v.record.ID))].members.Session
	}
	first := told()
	if first == 0 {
		t.Fatal("attached without a session among three nodes")
	}
	n.session.renewed(first+100, lease.Now()+time.Hour, time.Hour)
	eventually(t, "the engine hears of the next session", func() bool { return told() >= first+100 })
	if stateOf(t, n, "db") != stateAttached {
		t.Error("it is not attached any more")
	}
}

// A18: who holds a volume that was fenced is killed, its mount is gone, its hold too, and it
// can be attached again.
func TestFencedIsTakenDown(t *testing.T) {
	for name, step := range map[string]string{
		"cleanly": "", "docker does not answer": "kill users", "a process stays": "end users",
		"the mount is in use": "detach", "the engine hangs": "fence",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			n, _, _ := among(t, m)
			mustCreate(t, n, "db", nil)
			mustAttach(t, n, "db", "docker:a")
			m.set(func() {
				if step != "" {
					m.fail[step] = errors.New("a test")
				}
				for _, e := range m.engines {
					e.fenced = "the lease was past for too long"
				}
			})
			eventually(t, "it is taken down", func() bool { return len(m.left()) == 0 && stateOf(t, n, "db") != stateAttached })
			m.set(func() { delete(m.fail, step) })
			eventually(t, "it is said", func() bool {
				v, err := n.Inspect("db")
				return err == nil && slices.ContainsFunc(v.conditions, func(c condition) bool { return c.code == condFenced })
			})
			if v, err := n.Inspect("db"); err != nil || len(v.holders) > 0 {
				t.Errorf("holders %v, %v; want none", v.holders, err)
			}
			eventually(t, "it can be attached again", func() bool {
				_, err := n.Attach(t.Context(), "db", "docker:b")
				return err == nil
			})
		})
	}
}

// TestFencedWhileDockerUnmounts: docker answers that a container is killed when its volumes
// are unmounted, so it must not be kept waiting for that by who waits for it.
func TestFencedWhileDockerUnmounts(t *testing.T) {
	m := newMachine()
	n, _, _ := among(t, m)
	mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", "docker:a")
	unmounted := make(chan error, 1)
	m.set(func() {
		m.killing = func(ctx context.Context) error {
			err := n.Detach(ctx, "db", "docker:a")
			unmounted <- err
			return err
		}
		for _, e := range m.engines {
			e.fenced = "the lease was past for too long"
		}
	})
	if err := <-unmounted; err != nil {
		t.Errorf("docker's unmount while its container is killed: %v", err)
	}
	eventually(t, "it is taken down", func() bool { return len(m.left()) == 0 && stateOf(t, n, "db") != stateAttached })
	if v, err := n.Inspect("db"); err != nil || len(v.holders) > 0 {
		t.Errorf("holders %v, %v; want none", v.holders, err)
	}
}

// A20: what may be deleted.
func TestMayDrop(t *testing.T) {
	two := ballast.VolumeSpec{MinCopies: 2}
	for _, tt := range []struct {
		name string
		rec  cluster.Record
		want bool
	}{
		{"never attached", cluster.Record{}, false},
		{"in sync here", cluster.Record{Epoch: 3, InSync: []ballast.NodeID{"n1", "n2"}, Copies: []ballast.NodeID{"n1", "n2"}}, false},
		{"to be here", cluster.Record{Epoch: 3, InSync: []ballast.NodeID{"n2"}, Copies: []ballast.NodeID{"n1", "n2"}}, false},
		{"led here", cluster.Record{Epoch: 3, Primary: "n1", InSync: []ballast.NodeID{"n2"}, Copies: []ballast.NodeID{"n2"}}, false},
		{"given up", cluster.Record{Epoch: 3, InSync: []ballast.NodeID{"n2"}, Copies: []ballast.NodeID{"n2"}}, true},
		{"given up, and nothing is in sync", cluster.Record{Epoch: 3, Copies: []ballast.NodeID{"n2"}}, false},
		{"given up, and too few are", cluster.Record{Epoch: 3, Spec: two, InSync: []ballast.NodeID{"n2"}, Copies: []ballast.NodeID{"n2"}}, false},
		{"removed for good", cluster.Record{Epoch: 3, Purging: true, InSync: []ballast.NodeID{"n1"}, Copies: []ballast.NodeID{"n1"}}, true},
	} {
		if got := mayDrop(tt.rec, "n1"); got != tt.want {
			t.Errorf("%s: %t; want %t", tt.name, got, tt.want)
		}
	}
}

// A20, on disk.
func TestUnwantedCopyIsDeleted(t *testing.T) {
	n, _, following := among(t, newMachine())
	rec := adoptElsewhere(t, n, "n2")
	dir := volumeDir(rec.ID)
	// Placed here again between the decision and the end of its stream, it may count by now.
	following.mu.Lock()
	following.beforeDrop = func() {
		if _, err := n.records.SetCopies(t.Context(), rec.ID, cluster.CopiesChange{Add: "n1"}); err != nil {
			t.Error(err)
		}
	}
	following.mu.Unlock()
	if err := n.disk.Mkdir(dir); err != nil {
		t.Fatal(err)
	}
	if err := volume.CreateFollower(n.disk, dir, volume.Identity{ID: rec.ID, Size: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	s := n.slot(rec.ID)
	if err := n.deleteCopy(t.Context(), s, rec); !errors.Is(err, ballast.ErrInUse) || !exists(n.path(dir)) {
		t.Fatalf("deleting what is placed here meanwhile = %v; want ErrInUse, and the files kept", err)
	}
	following.mu.Lock()
	following.beforeDrop = nil
	following.mu.Unlock()
	if _, err := n.records.SetCopies(t.Context(), rec.ID, cluster.CopiesChange{Drop: "n1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy is gone", func() bool {
		n.tidyVolume(t.Context(), s)
		return !exists(n.path(dir))
	})
}

func TestDecodeUsers(t *testing.T) {
	id := strings.Repeat("0a", 32)
	other := strings.Repeat("1b", 32)
	body := `[{"Id":"` + id + `","Names":["/web"],"Mounts":[{"Type":"volume","Name":"db","Source":"/x","Driver":"ballast"}]},
		{"Id":"` + other + `","Names":["/bound"],"Mounts":[{"Type":"bind","Source":"/data/mnt/db/sub"}]},
		{"Id":"` + strings.Repeat("2c", 32) + `","Names":["/local"],"Mounts":[{"Type":"volume","Name":"db","Source":"/y","Driver":"local"}]},
		{"Id":"` + strings.Repeat("3d", 32) + `","Names":["/near"],"Mounts":[{"Type":"bind","Source":"/data/mnt/db2"}]},
		{"Id":"../../etc","Names":["/evil"],"Mounts":[{"Type":"volume","Name":"db","Driver":"ballast"}]}]`
	users, err := decodeUsers([]byte(body), usesAnyOf("db", "/data/mnt/db"))
	if err != nil || len(users) != 2 || users[id] != "web" || users[other] != "bound" {
		t.Errorf("users = %v, %v", users, err)
	}
}
