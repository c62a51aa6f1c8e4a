package engine

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/test/freeze"
)

// leased is an engine whose volume another node has a copy of, in sync, with a lease that
// the test keeps.
type leased struct {
	*Client
	keeper *lease.Keeper
	path   string   // of the lease
	file   *os.File // the device file, read past the page cache
}

// spawnLeased starts an engine under session 1, whose lease lasts longer than any test.
func spawnLeased(t *testing.T) *leased {
	t.Helper()
	dir, leaseDir := newVolume(t), t.TempDir()
	keeper, err := lease.Keep(leaseDir)
	if err != nil {
		t.Fatal(err)
	}
	l := &leased{keeper: keeper, path: filepath.Join(leaseDir, lease.FileName)}
	keeper.Renew(1, lease.Now()+time.Hour, time.Hour)
	l.Client = spawnWith(t, Config{Dir: dir, Epoch: 3, Lease: l.path, Members: confirmed(1)})
	if l.file, err = os.OpenFile(DeviceFile(dir), os.O_RDWR|unix.O_DIRECT, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.file.Close(), l.keeper.Close() }) // the engine may be fenced by now
	return l
}

// confirmed is the record of a volume of which n2 has a copy, too. An engine whose node has no
// name sends it nothing: these tests are about what is answered.
func confirmed(session uint64) replica.Members {
	return replica.Members{Revision: 1, Epoch: 3, InSync: []ballast.NodeID{"", "n2"}, Session: session}
}

// shorten makes the lease end now, as if it had been a short one that nobody renewed: a
// keeper does not. So these tests need no luck with the time that a busy machine takes.
func (l *leased) shorten(t *testing.T, grace time.Duration) {
	t.Helper()
	f, err := os.OpenFile(l.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := binary.NativeEndian.AppendUint64(nil, uint64(lease.Now()))
	p = binary.NativeEndian.AppendUint64(p, uint64(grace))
	_, err = f.WriteAt(p, 24) // until, grace
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// block returns a block that direct I/O takes.
func block() []byte {
	p := make([]byte, 2*ballast.BlockSize)
	skip := -uintptr(unsafe.Pointer(&p[0])) % ballast.BlockSize
	return p[skip:][:ballast.BlockSize]
}

// requests are what an application does.
func (l *leased) requests() map[string]func() error {
	return map[string]func() error{
		"read":  func() error { _, err := l.file.ReadAt(block(), 0); return err },
		"write": func() error { _, err := l.file.WriteAt(block(), 0); return err },
		"flush": l.file.Sync,
	}
}

// begin makes all requests at once; what comes of each can be received.
func (l *leased) begin() map[string]chan error {
	answers := map[string]chan error{}
	for name, request := range l.requests() {
		answer := make(chan error, 1)
		answers[name] = answer
		go func() { answer <- request() }() // ends with the engine, at the latest
	}
	return answers
}

// N8, with a real process: an engine that was stopped past its lease, and goes on, answers
// nothing: neither what it was asked before, nor while it stood, nor after.
func TestStoppedPastItsLease(t *testing.T) {
	l := spawnLeased(t)
	for name, request := range l.requests() {
		if err := request(); err != nil {
			t.Fatalf("%s under the lease: %v", name, err)
		}
	}
	freeze.Process(t, l.process.Pid)
	answers := l.begin()
	l.shorten(t, 100*time.Millisecond)
	if err := syscall.Kill(l.process.Pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for name, answer := range answers {
		if err := <-answer; !errors.Is(err, syscall.EIO) {
			t.Errorf("%s = %v after the lease; want EIO", name, err)
		}
	}
	st, err := l.Status(t.Context())
	if err != nil || st.Fenced == "" {
		t.Errorf("status = %+v, %v; want it fenced", st, err)
	}
	// A session that comes too late, with a record that still is as it was, opens nothing.
	l.keeper.Renew(2, lease.Now()+time.Hour, time.Hour)
	if err := l.SetMembers(t.Context(), confirmed(2)); err != nil {
		t.Error(err)
	}
	for name, request := range l.requests() {
		if err := request(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s = %v when fenced; want EIO", name, err)
		}
	}
}

// An agent that was away for a moment confirms the epoch under its next session, and
// what waited goes on.
func TestNextSession(t *testing.T) {
	l := spawnLeased(t)
	l.shorten(t, time.Hour)
	answers := l.begin()
	l.keeper.Renew(2, lease.Now()+time.Hour, time.Hour)
	eventually(t, "the gate is shut", func() bool {
		st, err := l.Status(t.Context())
		return err == nil && st.Shut && st.Session == 1
	})
	for name, answer := range answers {
		select {
		case err := <-answer:
			t.Errorf("%s = %v before the session was confirmed", name, err)
		default:
		}
	}
	if err := l.SetMembers(t.Context(), confirmed(2)); err != nil {
		t.Fatal(err)
	}
	for name, answer := range answers {
		if err := <-answer; err != nil {
			t.Errorf("%s = %v once it was confirmed", name, err)
		}
	}
}

// Who is told that it is fenced, or that another node has the volume, serves nothing more.
func TestFenced(t *testing.T) {
	other := confirmed(1)
	other.Epoch, other.Primary = 4, "n2"
	for name, fence := range map[string]func(l *leased) error{
		"told":   func(l *leased) error { return l.Fence(t.Context(), "a test") },
		"record": func(l *leased) error { return l.SetMembers(t.Context(), other) },
	} {
		t.Run(name, func(t *testing.T) {
			l := spawnLeased(t)
			if err := fence(l); err != nil {
				t.Fatal(err)
			}
			for name, request := range l.requests() {
				if err := request(); !errors.Is(err, syscall.EIO) {
					t.Errorf("%s = %v; want EIO", name, err)
				}
			}
			if st, err := l.Status(t.Context()); err != nil || st.Fenced == "" {
				t.Errorf("status = %+v, %v; want it fenced", st, err)
			}
		})
	}
}

// An engine that nobody has a lease for, and whose copy is the only one, asks none.
func TestNoLeaseNeeded(t *testing.T) {
	dir := newVolume(t)
	m := replica.Members{Revision: 1, Epoch: 3, Primary: "n1", InSync: []ballast.NodeID{"n1"}}
	c := spawnWith(t, Config{Dir: dir, Epoch: 3, Node: "n1", Members: m})
	put(t, filepath.Join(attach(t, dir), "f"), "served")
	if st, err := c.Status(t.Context()); err != nil || st.Fenced != "" || st.Shut {
		t.Errorf("status = %+v, %v", st, err)
	}
	if err := c.SetMembers(t.Context(), replica.Members{Epoch: 2, Primary: "n1"}); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("a record of an earlier epoch = %v; want invalid", err)
	}
}
