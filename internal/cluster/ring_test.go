package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

func TestRingGrowsAndShrinks(t *testing.T) {
	r := newRing(t, "n1", "n2", "n3")
	r.startAll("n1", "n2", "n3")
	n1, n2, n3 := r.nodes["n1"], r.nodes["n2"], r.nodes["n3"]
	made, err := n1.Create(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*ringNode{n1, n2, n3} {
		n.awaitVoters(3)
	}
	if got, err := n3.Read(t.Context(), made.ID); err != nil || got.Name != "db" {
		t.Errorf("n3 reads %+v, %v; want what n1 made", got, err)
	}
	if _, err := n2.Create(t.Context(), "db2", nil); err != nil {
		t.Error(err)
	}
	// Two are left, of which one holds etcd and the other asks it.
	n3.stop()
	if err := n1.RemoveNode(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	n1.awaitVoters(1)
	eventually(t, "n2 asks n1", func() error { _, err := n2.Create(t.Context(), "db3", nil); return err })
	if n2.hasData() {
		t.Error("n2 still has what it held")
	}
	n2.stop()
	if err := n1.RemoveNode(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"db", "db2", "db3"} {
		if _, err := n1.Get(name); err != nil {
			t.Error(err)
		}
	}
}

// What is asked right after a change of address goes to the etcd that has it.
func TestChangeOfAddress(t *testing.T) {
	r := newRing(t, "n1")
	n1 := r.nodes["n1"].start()
	for _, name := range []string{"db", "web"} {
		before, err := n1.keyspace(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n1.SetPeering(*n1.peering())
		after, err := n1.keyspace(t.Context())
		for errors.Is(err, ballast.ErrNotReady) { // on a slow machine
			after, err = n1.keyspace(t.Context())
		}
		if err != nil || before == after {
			t.Errorf("asked %v, %v after the change; want another one than before", after, err)
		}
		if _, err := n1.Create(t.Context(), name, nil); err != nil {
			t.Error(err)
		}
	}
}

// All nodes end and start again at once; and then one that was removed meanwhile.
func TestRingRestarts(t *testing.T) {
	r := newRing(t, "n1", "n2", "n3")
	r.startAll("n1", "n2", "n3")
	n1, n2, n3 := r.nodes["n1"], r.nodes["n2"], r.nodes["n3"]
	n1.awaitVoters(3)
	made, err := n2.Create(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, n := range []*ringNode{n3, n1, n2} {
			n.stop()
		}
		for _, n := range []*ringNode{n2, n3, n1} {
			n.start()
		}
		for _, n := range []*ringNode{n1, n2, n3} {
			eventually(t, string(n.name)+" reads", func() error { _, err := n.Read(t.Context(), made.ID); return err })
		}
	}
	// n3 loses its disk, all but its identity, and gets it all anew.
	n3.stop()
	for _, lost := range []string{"records", "view.json"} {
		if err := os.RemoveAll(filepath.Join(n3.dir, lost)); err != nil {
			t.Fatal(err)
		}
	}
	n3.start()
	eventually(t, "n3 holds etcd again", func() error {
		if !n3.hasData() {
			return errors.New("it has nothing")
		}
		return nil
	})
	for _, n := range []*ringNode{n1, n3} {
		n.awaitVoters(3)
	}
	// n2 is away while it is removed from the members, and finds out by itself.
	n2.stop()
	if err := n1.RemoveNode(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	n1.awaitVoters(1)
	if _, err := n1.PutNode(t.Context(), Node{Name: "n2", Address: n2.address}); err != nil {
		t.Fatal(err)
	}
	n2.start()
	eventually(t, "n2 reads", func() error { _, err := n2.Read(t.Context(), made.ID); return err })
	n1.awaitVoters(3)
}

// The other members are lost for good: one goes on alone.
func TestForceNew(t *testing.T) {
	r := newRing(t, "n1", "n2", "n3")
	r.startAll("n1", "n2", "n3")
	n1, n2, n3 := r.nodes["n1"], r.nodes["n2"], r.nodes["n3"]
	n2.awaitVoters(3)
	if _, err := n1.Create(t.Context(), "db", nil); err != nil {
		t.Fatal(err)
	}
	// As long as the others agree nothing is forced.
	n2.stop()
	n2.force = true
	n2.start()
	eventually(t, "n2 refuses", func() error {
		if ready, err := n2.Ready(); ready || !errors.Is(err, ballast.ErrInUse) {
			return fmt.Errorf("ready %t, %w", ready, err)
		}
		return nil
	})
	n2.stop()
	n2.start()
	n2.awaitVoters(3)
	n1.stop()
	n3.stop()
	n2.stop()
	n2.force = true
	n2.start()
	eventually(t, "n2 goes on", func() error { _, err := n2.Create(t.Context(), "db2", nil); return err })
	if _, err := n2.Get("db"); err != nil {
		t.Error(err)
	}
	for _, gone := range []ballast.NodeID{"n1", "n3"} {
		if err := n2.RemoveNode(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	n2.awaitVoters(1)
	// Those that were not lost after all are a quorum among themselves. They hear from n2 that they
	// were given up, set aside what they have, and ask n2 from then on.
	n1.start()
	n3.start()
	for _, n := range []*ringNode{n1, n3} {
		eventually(t, string(n.name)+" gives way", func() error {
			if _, err := os.Stat(filepath.Join(n.dir, "records", "member.removed")); err != nil {
				return err
			}
			_, err := n.Get("db2")
			return err
		})
	}
	eventually(t, "n1 asks n2", func() error { _, err := n1.Create(t.Context(), "db3", nil); return err })
	eventually(t, "n2 hears of it", func() error { _, err := n2.Get("db3"); return err })
}

// claimWhenFree claims a volume from a node as soon as it can, and returns how long
// that took.
func (n *ringNode) claimWhenFree(id ballast.VolumeID) (Record, time.Duration) {
	t := n.ring.t
	t.Helper()
	begin := time.Now()
	var got Record
	eventually(t, string(n.name)+" claims", func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := n.AwaitRelease(ctx, id); err != nil {
			return err
		}
		got, err = n.Claim(ctx, id, ClaimRequest{})
		return err
	})
	return got, time.Since(begin)
}

// replicated makes a volume that n1 holds and n2 has in sync.
func (r *ring) replicated(name string) Record {
	r.t.Helper()
	n1 := r.nodes["n1"]
	made, err := n1.Create(r.t.Context(), name, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := n1.Claim(r.t.Context(), made.ID, ClaimRequest{}); err != nil {
		r.t.Fatal(err)
	}
	held, err := n1.SetCopies(r.t.Context(), made.ID, CopiesChange{Add: "n2"})
	if err != nil {
		r.t.Fatal(err)
	}
	if held, err = n1.ChangeInSync(r.t.Context(), made.ID, addOf(held, "n2"), replica.Branch{}); err != nil {
		r.t.Fatal(err)
	}
	return held
}

// The holder of a volume, which may lead etcd, is cut off from all others: the volume
// can be claimed a lease later, and it learns of it when it is back (C8, G3).
func TestHolderIsCutOff(t *testing.T) {
	r := newRing(t, "n1", "n2", "n3")
	r.startAll("n1", "n2", "n3")
	n1, n2 := r.nodes["n1"], r.nodes["n2"]
	for _, n := range r.nodes {
		n.awaitVoters(3)
	}
	held := r.replicated("db")
	eventually(t, "n2 knows", func() error {
		if got, err := n2.ByID(held.ID); err != nil || len(got.InSync) != 2 || n2.Session("n1").Number == 0 {
			return fmt.Errorf("%+v %w", got, err)
		}
		return nil
	})
	if _, err := n2.Claim(t.Context(), held.ID, ClaimRequest{}); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("claim of what is held: %v", err)
	}
	r.isolate("n1")
	got, took := n2.claimWhenFree(held.ID)
	if got.Epoch != held.Epoch+1 || !slices.Equal(got.InSync, nodes("n2")) {
		t.Errorf("claimed %+v; want n2 alone to count", got)
	}
	n1.mu.Lock()
	if left := n1.until - n1.boot(); left > 0 {
		t.Errorf("n1 holds its session for good for another %s, after %s", left, took)
	}
	n1.mu.Unlock()
	t.Logf("claimed %s after the cut, with a lease of %s", took, r.lease)
	before := n1.sessionsSoFar()
	r.heal()
	eventually(t, "n1 has another session", func() error {
		if now := n1.sessionsSoFar(); len(now) <= len(before) {
			return fmt.Errorf("sessions %v", now)
		}
		return nil
	})
	if now, err := n1.Read(t.Context(), held.ID); err != nil || now.Primary != "n2" {
		t.Errorf("n1 reads %+v, %v; want to learn of n2", now, err)
	}
	if _, err := n1.ChangeInSync(t.Context(), held.ID, addOf(held, "n2"), replica.Branch{}); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("n1 leads on: %v; want it refused", err)
	}
}

// A node that holds no etcd claims, and goes on when the member it asked dies.
func TestClientOfMembers(t *testing.T) {
	r := newRing(t, "n1", "n2", "n3", "n4")
	r.startAll("n1", "n2", "n3", "n4")
	n1 := r.nodes["n1"]
	n1.awaitVoters(3)
	outsider := r.outsider()
	if outsider.hasData() || outsider.Leads() {
		t.Errorf("%s holds etcd", outsider.name)
	}
	held := r.replicated("db")
	if _, err := n1.Release(t.Context(), held.ID, held.Epoch); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client claims hollow", func() error {
		_, err := outsider.Claim(t.Context(), held.ID, ClaimRequest{Hollow: true})
		return err
	})
	for _, n := range r.nodes {
		if n.Leads() {
			n.stop()
			break
		}
	}
	eventually(t, "the client works on", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := outsider.Create(ctx, "other", nil)
		return err
	})
	if got, err := outsider.Read(t.Context(), held.ID); err != nil || got.Primary != outsider.name || got.Epoch <= held.Epoch || len(got.InSync) == 0 {
		t.Errorf("%s reads %+v, %v", outsider.name, got, err)
	}
}

// outsider returns the node that is no member: which one that is depends on who was seen first.
func (r *ring) outsider() *ringNode {
	r.t.Helper()
	members := r.nodes["n1"].Members()
	for _, n := range r.nodes {
		if !slices.ContainsFunc(members, func(m Member) bool { return m.URL == memberURLOf(n.address) }) {
			return n
		}
	}
	r.t.Fatalf("all nodes are members: %+v", members)
	return nil
}

// Without a quorum nothing is changed, and it is said why.
func TestNoQuorum(t *testing.T) {
	r := newRing(t, "n1", "n2", "n3")
	r.startAll("n1", "n2", "n3")
	n1 := r.nodes["n1"]
	n1.awaitVoters(3)
	made, err := n1.Create(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.nodes["n2"].stop()
	r.nodes["n3"].stop()
	eventually(t, "n1 says so", func() error {
		if ready, why := n1.Ready(); ready || !errors.Is(why, errNoQuorum) {
			return fmt.Errorf("ready %t, %w", ready, why)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := n1.Claim(ctx, made.ID, ClaimRequest{}); err == nil {
		t.Error("claimed without a quorum")
	}
	if _, err := n1.Get("db"); err != nil {
		t.Errorf("looking up needs no quorum (C5): %v", err)
	}
	r.nodes["n3"].start()
	eventually(t, "n1 goes on", func() error {
		if ready, why := n1.Ready(); !ready {
			return fmt.Errorf("not ready: %w", why)
		}
		_, err := n1.Claim(t.Context(), made.ID, ClaimRequest{})
		return err
	})
}

// Of 100 that come with one token at once one is admitted, and of 100 for one name.
func TestOneTokenAdmitsOne(t *testing.T) {
	r := newRing(t, "n1", "n2", "n3")
	r.startAll("n1", "n2", "n3")
	r.nodes["n1"].awaitVoters(3)
	race := func(admit func(i int, at *ringNode) error) int {
		var all sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 100 {
			all.Go(func() {
				err := admit(i, r.nodes[nodes("n1", "n2", "n3")[i%3]])
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case !errors.Is(err, ballast.ErrNotFound) && !errors.Is(err, ballast.ErrExists) && !errors.Is(err, errContended):
					t.Error(err)
				}
			})
		}
		all.Wait()
		return won
	}
	ok := func([]byte) error { return nil }
	put := func(id string) {
		if err := r.nodes["n1"].PutToken(t.Context(), id, []byte("hash"), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	put("token")
	if won := race(func(i int, at *ringNode) error {
		_, err := at.Admit(t.Context(), "token", ok, Node{Name: ballast.NodeID(fmt.Sprint("x", i)), Address: "127.0.0.1:1"})
		return err
	}); won != 1 {
		t.Errorf("%d were admitted with one token; want 1", won)
	}
	for i := range 100 {
		put(fmt.Sprint("token", i))
	}
	if won := race(func(i int, at *ringNode) error {
		_, err := at.Admit(t.Context(), fmt.Sprint("token", i), ok, Node{Name: "same", Address: "127.0.0.1:1"})
		return err
	}); won != 1 {
		t.Errorf("%d were admitted under one name; want 1", won)
	}
	put("spent")
	if won := race(func(_ int, at *ringNode) error { return at.SpendToken(t.Context(), "spent", ok) }); won != 1 {
		t.Errorf("%d have spent one token; want 1", won)
	}
	put("wrong")
	no := errors.New("wrong secret")
	if err := r.nodes["n2"].SpendToken(t.Context(), "wrong", func([]byte) error { return no }); !errors.Is(err, no) {
		t.Errorf("spent with a wrong secret: %v", err)
	}
	if err := r.nodes["n2"].SpendToken(t.Context(), "wrong", ok); err != nil {
		t.Errorf("a refused token is spent: %v", err)
	}
	generations := map[uint64]bool{}
	for _, n := range r.nodes["n1"].Nodes() {
		if generations[n.Generation] || n.Generation == 0 {
			t.Errorf("generation %d was given twice or never", n.Generation)
		}
		generations[n.Generation] = true
	}
}
