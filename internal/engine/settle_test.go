package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/vfs"
)

// hangingCopy is another node that takes connections and never says a word.
func hangingCopy(t *testing.T) (address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() }) // nothing was said
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// newIdentity makes the folder of a node n1 that has joined a cluster.
func newIdentity(t *testing.T) (dir string) {
	t.Helper()
	a, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := key.Request()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Sign(request, "n1", 1, []string{"127.0.0.1"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	folder := identity.Folder{CA: a.Certificate(), Certificate: cert, Key: key, Cluster: identity.Cluster{
		ID: a.Cluster(), Node: "n1", Generation: 1, Listen: "127.0.0.1:1", Address: "127.0.0.1:1",
	}}
	if err := errors.Join(identity.Save(disk, ".", folder), disk.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spawnStalled starts an engine whose other copy is required, says nothing, and cannot be left
// out: there is no agent to change the record. A record is in its log that waits for that copy.
func spawnStalled(t *testing.T, settle time.Duration) *Client {
	t.Helper()
	dir, leases := newVolume(t), t.TempDir()
	keeper, err := lease.Keep(leases)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keeper.Close() }) // the engine has ended
	keeper.Renew(1, lease.Now()+time.Hour, time.Hour)
	c := spawnWith(t, Config{
		Dir: dir, Epoch: 3, Node: "n1", Lease: filepath.Join(leases, lease.FileName), Identity: newIdentity(t), Settle: settle,
		Members: replica.Members{
			Revision: 1, Epoch: 3, Primary: "n1", InSync: []ballast.NodeID{"n1", "n2"}, MinCopies: 1, Session: 1,
			Copies: []replica.Peer{{Node: "n2", Address: hangingCopy(t)}},
		},
	})
	f, err := os.OpenFile(DeviceFile(dir), os.O_WRONLY|syscall.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(block(), 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return c
}

// N10: told to stop while a copy hangs that it must wait for, an engine ends, and says what that means.
func TestStopWhileACopyHangs(t *testing.T) {
	c := spawnStalled(t, 200*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Stop(ctx); !errors.Is(err, ErrUnsettled) {
		t.Errorf("Stop = %v; want unsettled", err)
	}
	if _, err := c.Status(ctx); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Status = %v; want it gone", err)
	}
	// What it leaves is as after a crash: the next engine goes on from it.
	next := spawnWith(t, Config{Dir: c.dir, Epoch: 4})
	st, err := next.Status(ctx)
	if err != nil || st.Last != 1 || st.Error != "" {
		t.Errorf("after it: %+v, %v; want its record", st, err)
	}
}

// N10: nor does SIGTERM leave an engine behind, when the agent is gone that would kill it.
func TestTerminatedWhileACopyHangs(t *testing.T) {
	c := spawnStalled(t, 200*time.Millisecond)
	if err := syscall.Kill(c.process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Wait(ctx); err != nil {
		t.Error(err)
	}
}
