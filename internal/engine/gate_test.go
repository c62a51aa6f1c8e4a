package engine

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// fakeLease is a lease in memory.
type fakeLease struct {
	mu           sync.Mutex
	session      uint64
	until, grace time.Duration
}

func (f *fakeLease) Read() (uint64, time.Duration, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.session, f.until, f.grace
}

func (f *fakeLease) renew(session uint64, until time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.session, f.until, f.grace = session, until, 5*time.Second
}

// fakeStore is a volume on which every call takes as long as a test says.
type fakeStore struct {
	calls int
	takes time.Duration
	err   error
}

func (s *fakeStore) call() error                            { s.calls++; <-time.After(s.takes); return s.err }
func (s *fakeStore) ReadAt(p []byte, _ int64) (int, error)  { return len(p), s.call() }
func (s *fakeStore) WriteAt(p []byte, _ int64) (int, error) { return len(p), s.call() }
func (s *fakeStore) Written()                               { s.calls++ }
func (s *fakeStore) Flush() error                           { return s.call() }
func (s *fakeStore) Discard(int64, int64) error             { return s.call() }
func (s *fakeStore) Size() int64                            { return size }

// gateTest is a gate of node n1 under epoch 3, in a bubble whose clock is the lease's.
type gateTest struct {
	*gate
	store *fakeStore
	lease *fakeLease
	began time.Time
}

func (g gateTest) since() time.Duration { return time.Since(g.began) }

func newGateTest(inSync ...ballast.NodeID) gateTest {
	t := gateTest{store: &fakeStore{}, lease: &fakeLease{}, began: time.Now()}
	t.lease.renew(1, 5*time.Second)
	t.gate = newGate(t.store, "n1", 3, t.lease, slog.New(slog.DiscardHandler))
	t.now = t.since
	t.say(1, inSync...)
	return t
}

// say tells the gate of a record, confirmed under session 1.
func (g gateTest) say(revision int64, inSync ...ballast.NodeID) {
	if _, err := g.setMembers(replica.Members{Revision: revision, Epoch: 3, Primary: "n1", InSync: inSync, Session: 1}); err != nil {
		panic(err)
	}
}

// everyCall is what a device asks of a store.
func (g gateTest) everyCall() map[string]func() error {
	return map[string]func() error{
		"read":    func() error { _, err := g.ReadAt(make([]byte, 4096), 0); return err },
		"write":   func() error { _, err := g.WriteAt(make([]byte, 4096), 0); return err },
		"flush":   g.Flush,
		"discard": func() error { return g.Discard(0, 4096) },
	}
}

// N8: what is answered, when, and how.
func TestGate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		inSync []ballast.NodeID
		meet   func(g gateTest)
		takes  time.Duration // of a call that begins after meet
		after  time.Duration // when the answer comes, to within gatePoll
		fenced string        // in the error; "": there is none
	}{
		{"the lease is good", []ballast.NodeID{"n1", "n2"}, func(gateTest) {}, time.Second, time.Second, ""},
		{"it is renewed meanwhile", []ballast.NodeID{"n1", "n2"}, func(g gateTest) { at(4*time.Second, func() { g.lease.renew(1, 9*time.Second) }) }, 6 * time.Second, 6 * time.Second, ""},
		{"it is past and renewed later", []ballast.NodeID{"n1", "n2"}, func(g gateTest) { at(8*time.Second, func() { g.lease.renew(1, 12*time.Second) }) }, 6 * time.Second, 8 * time.Second, ""},
		{"it is past, and stays so", []ballast.NodeID{"n1", "n2"}, func(gateTest) {}, 6 * time.Second, 10 * time.Second, "lease"},
		{"the call ends after the time to give up", []ballast.NodeID{"n1", "n2"}, func(gateTest) {}, time.Minute, time.Minute, "lease"},
		{"nobody else could claim the volume", []ballast.NodeID{"n1"}, func(gateTest) {}, time.Hour, time.Hour, ""},
		{"only somebody else could", []ballast.NodeID{"n2"}, func(gateTest) {}, 6 * time.Second, 10 * time.Second, "lease"},
		{"nobody else could, until it was asked for", []ballast.NodeID{"n1"}, func(g gateTest) { g.expect() }, 6 * time.Second, 10 * time.Second, "lease"},
		{"it was asked for, and refused by a later record", []ballast.NodeID{"n1"}, func(g gateTest) { g.expect(); g.say(2, "n1") }, time.Hour, time.Hour, ""},
		{"it was asked for, and the record is as before", []ballast.NodeID{"n1"}, func(g gateTest) { g.expect(); g.say(1, "n1") }, 6 * time.Second, 10 * time.Second, "lease"},
		{"the other one was removed meanwhile", []ballast.NodeID{"n1", "n2"}, func(g gateTest) { at(7*time.Second, func() { g.say(2, "n1") }) }, 6 * time.Second, 7 * time.Second, ""},
		{"an older record comes late", []ballast.NodeID{"n1", "n2"}, func(g gateTest) { g.say(0, "n1") }, 6 * time.Second, 10 * time.Second, "lease"},
		{"another session, that is not confirmed", []ballast.NodeID{"n1", "n2"}, func(g gateTest) { g.lease.renew(2, time.Hour) }, time.Second, 6 * time.Second, "lease"},
		{"another session, that is confirmed", []ballast.NodeID{"n1", "n2"}, func(g gateTest) { g.lease.renew(2, time.Hour); at(4*time.Second, g.confirm2) }, time.Second, 4 * time.Second, ""},
		{"the record has a later epoch", []ballast.NodeID{"n1", "n2"}, func(g gateTest) { at(time.Second, func() { g.claimed(4, "n2") }) }, 2 * time.Second, 2 * time.Second, `"n2"`},
		{"the record names another holder", []ballast.NodeID{"n1", "n2"}, func(g gateTest) { at(7*time.Second, func() { g.claimed(3, "") }) }, 6 * time.Second, 7 * time.Second, "holder"},
		{"the agent fences it", []ballast.NodeID{"n1"}, func(g gateTest) { at(time.Second, func() { g.fence("because") }) }, 2 * time.Second, 2 * time.Second, "because"},
	} {
		for _, call := range []string{"read", "write", "flush", "discard"} {
			t.Run(tt.name+"/"+call, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGateTest(tt.inSync...)
					tt.meet(g)
					g.store.takes = tt.takes
					err := g.everyCall()[call]()
					if took := g.since(); took < tt.after || took > tt.after+gatePoll {
						t.Errorf("answered after %v; want %v", took, tt.after)
					}
					if fenced := errors.Is(err, errFenced); fenced != (tt.fenced != "") || fenced && !strings.Contains(err.Error(), tt.fenced) {
						t.Errorf("err = %v; want %q in it", err, tt.fenced)
					}
					<-time.After(time.Minute) // what at began has ended
				})
			})
		}
	}
}

// at does something after a while.
func at(after time.Duration, do func()) {
	go func() { <-time.After(after); do() }() // ends in the bubble
}

func (g gateTest) confirm2() {
	_, _ = g.setMembers(replica.Members{Revision: 1, Epoch: 3, Primary: "n1", InSync: []ballast.NodeID{"n1", "n2"}, Session: 2}) // seen by its effect
}

func (g gateTest) claimed(epoch ballast.Epoch, by ballast.NodeID) {
	_, _ = g.setMembers(replica.Members{Revision: 9, Epoch: epoch, Primary: by, Session: 1}) // seen by its effect
}

// A fenced gate asks the volume nothing, and is never opened again.
func TestFencedForEver(t *testing.T) {
	g := newGateTest("n1")
	g.fence("one")
	g.fence("two")
	g.say(5, "n1")
	g.Written()
	for name, call := range g.everyCall() {
		if err := call(); !errors.Is(err, errFenced) || !strings.Contains(err.Error(), "one") {
			t.Errorf("%s = %v; want the first reason", name, err)
		}
	}
	if g.store.calls > 0 || g.look() != gateFenced {
		t.Errorf("%d calls reached the volume", g.store.calls)
	}
}

// A volume's own error is told like an answer.
func TestGateTellsErrors(t *testing.T) {
	g := newGateTest("n1", "n2")
	g.store.err = errors.New("the disk")
	for name, call := range g.everyCall() {
		if err := call(); !errors.Is(err, g.store.err) {
			t.Errorf("%s = %v; want %v", name, err, g.store.err)
		}
	}
}

func TestGateRefusesStaleRecord(t *testing.T) {
	g := newGateTest("n1")
	if _, err := g.setMembers(replica.Members{Revision: 9, Epoch: 2, Primary: "n2"}); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("err = %v; want invalid", err)
	}
	if g.why() != "" {
		t.Errorf("fenced by a record of an earlier epoch: %s", g.why())
	}
}

func BenchmarkGate(b *testing.B) {
	for _, inSync := range [][]ballast.NodeID{{"n1"}, {"n1", "n2"}} {
		b.Run(string(inSync[len(inSync)-1]), func(b *testing.B) {
			g := newGateTest(inSync...)
			g.lease.renew(1, 1<<62)
			for b.Loop() {
				if err := g.pass(nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
