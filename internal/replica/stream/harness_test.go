package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/replica/stream"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	testID   = ballast.VolumeID("test")
	testSize = 4 * ballast.ChunkSize
)

// record stands in for the volume's record in etcd.
type record struct {
	mu sync.Mutex
	m  replica.Members
	// fail is asked before each change; nil lets it be.
	fail func(replica.Change) error
	late atomic.Bool // what followers see of it is so old that it allows anybody
}

func newRecord(nodes ...ballast.NodeID) *record {
	r := &record{m: replica.Members{Revision: 1, MinCopies: 1, Session: 1, InSync: []ballast.NodeID{nodes[0]}}}
	for _, n := range nodes {
		r.m.Copies = append(r.m.Copies, replica.Peer{Node: n, Address: string(n)})
	}
	return r
}

// claim makes node the writer, under the next epoch.
func (r *record) claim(node ballast.NodeID) replica.Members {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.Epoch++
	r.m.Revision++
	r.m.Primary = node
	return r.m
}

func (r *record) members() replica.Members {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m
}

// Change implements stream.Control.
func (r *record) Change(_ context.Context, c replica.Change) (replica.Members, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(c); err != nil {
			return replica.Members{}, err
		}
	}
	if c.Epoch != r.m.Epoch || c.Revision != r.m.Revision {
		return replica.Members{}, fmt.Errorf("the record has changed: %w", ballast.ErrInUse)
	}
	m := r.m
	m.Revision++
	m.InSync = slices.DeleteFunc(slices.Clone(m.InSync), func(n ballast.NodeID) bool { return n == c.Remove || n == c.Add })
	if c.Add != "" {
		m.InSync = append(m.InSync, c.Add)
	}
	r.m = m
	return m, nil
}

// refuse lets no change be made from now on.
func (r *record) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = func(replica.Change) error { return ballast.ErrInUse }
}

// allow is the follower's question.
func (r *record) allow(_ context.Context, _ ballast.VolumeID, node ballast.NodeID, epoch ballast.Epoch) error {
	if r.late.Load() {
		return nil
	}
	switch replica.Greet(0, r.members(), replica.Hello{Node: node, Epoch: epoch}) {
	case replica.Welcome:
		return nil
	case replica.Stale:
		return fmt.Errorf("record: %w", volume.ErrStaleEpoch)
	case replica.NotKnown:
		return ballast.ErrNotReady
	case replica.NotWriter:
		return ballast.ErrInvalid
	}
	return errors.New("no answer")
}

// node is a machine with one volume's files.
type node struct {
	name ballast.NodeID
	disk vfs.FS
	r    *receiver.Receiver
	dead *atomic.Bool // its power is off: nothing leaves it
	stop func()

	opens atomic.Int64
}

// cluster is some nodes, a record, and pipes between them.
type cluster struct {
	t      testing.TB
	record *record
	log    *slog.Logger
	queue  int64
	size   int64
	dialer func(context.Context, replica.Peer) (net.Conn, error) // instead of pipes

	mu    sync.Mutex
	nodes map[ballast.NodeID]*node
	cut   func(net.Conn) net.Conn // what becomes of a new connection; nil: nothing
}

func newCluster(t testing.TB, names ...ballast.NodeID) *cluster {
	c := &cluster{t: t, record: newRecord(names...), nodes: map[ballast.NodeID]*node{}, queue: 1 << 30, size: testSize, log: slog.New(slog.DiscardHandler)}
	if os.Getenv("BALLAST_TEST_LOG") != "" {
		c.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, n := range names {
		disk := crashfs.New()
		if err := disk.Mkdir("v"); err != nil {
			t.Fatal(err)
		}
		if err := disk.SyncDir("."); err != nil {
			t.Fatal(err)
		}
		c.nodes[n] = &node{name: n, disk: disk}
	}
	return c
}

// open is receiver.Config.Open.
func (n *node) open(_ context.Context, id ballast.VolumeID, size int64) (receiver.Copy, error) {
	if _, err := volume.ReadIdentity(n.disk, "v"); err != nil {
		if size == 0 {
			return nil, ballast.ErrNotFound
		}
		if err := volume.CreateFollower(n.disk, "v", volume.Identity{ID: id, Size: size}); err != nil {
			return nil, err
		}
	}
	f, err := volume.OpenFollower(n.disk, "v", volume.FollowerOptions{LogCapacity: 64 << 20, Queue: 64 << 20})
	if err != nil {
		return nil, err
	}
	n.opens.Add(1)
	return receiver.Of(f), nil
}

// receive runs the node's receiver until stop.
func (c *cluster) receive(n *node) {
	n.dead = &atomic.Bool{}
	n.r = receiver.New(receiver.Config{Node: n.name, Cluster: "c", Open: n.open, Allow: c.record.allow, Log: c.log.With("at", n.name)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := n.r.Run(ctx); err != nil {
			c.log.Info("receiver ended", "node", n.name, "error", err)
		}
	}()
	n.stop = func() { cancel(); <-done }
}

// dial connects from one node to another.
func (c *cluster) dial(from ballast.NodeID) func(context.Context, replica.Peer) (net.Conn, error) {
	if c.dialer != nil {
		return c.dialer
	}
	return func(ctx context.Context, p replica.Peer) (net.Conn, error) {
		c.mu.Lock()
		to, cut := c.nodes[p.Node], c.cut
		r, dead := to.r, to.dead
		c.mu.Unlock()
		if r == nil {
			return nil, errors.New("no route to host")
		}
		here, there := net.Pipe()
		if cut != nil {
			here = cut(here)
		}
		go func() {
			if err := r.Serve(context.WithoutCancel(ctx), silenced{there, dead}, from); err != nil {
				c.log.Info("stream served", "node", p.Node, "error", err)
			}
		}()
		return here, nil
	}
}

// blank makes a copy of the volume as it was at LSN 0.
func (c *cluster) blank(n *node) {
	c.t.Helper()
	if err := volume.Create(n.disk, "v", volume.Identity{ID: testID, Size: c.size}); err != nil {
		c.t.Fatal(err)
	}
}

// silenced is the connection of a machine that can lose its power.
type silenced struct {
	net.Conn
	dead *atomic.Bool
}

// Write writes nothing once the power is off.
func (s silenced) Write(p []byte) (int, error) {
	if s.dead.Load() {
		return 0, net.ErrClosed
	}
	return s.Conn.Write(p)
}

// leader is an open volume with its hub.
type leader struct {
	v    *volume.Volume
	hub  *stream.Hub
	stop func()
}

// lead opens the volume on a node, under the next epoch.
func (c *cluster) lead(n *node) *leader {
	c.t.Helper()
	m := c.record.claim(n.name)
	if _, err := volume.ReadIdentity(n.disk, "v"); err != nil {
		if err := volume.Create(n.disk, "v", volume.Identity{ID: testID, Size: c.size}); err != nil {
			c.t.Fatal(err)
		}
	}
	if n.r != nil {
		if err := n.r.Take(c.t.Context(), testID, m.Epoch); err != nil {
			c.t.Fatal(err)
		}
	}
	hub := stream.New(stream.Config{Node: n.name, Cluster: "c", Members: m, Dial: c.dial(n.name), Control: c.record, Log: c.log.With("leader", n.name)})
	v, err := volume.Open(n.disk, "v", volume.Options{Epoch: m.Epoch, LogCapacity: 16 * c.size, Queue: c.queue, Shipper: hub})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := hub.Run(ctx, stream.Of(v)); err != nil {
			c.log.Info("hub ended", "node", n.name, "error", err)
		}
	})
	running.Go(func() { _ = v.Run(ctx) }) // its failure shows in what is asked of it
	return &leader{v, hub, func() { cancel(); running.Wait() }}
}

// close ends the leader as a detach does.
func (l *leader) close(t testing.TB) {
	t.Helper()
	if err := l.v.Close(); err != nil {
		t.Error(err)
	}
	l.stop()
}

// inSync waits until the record counts the nodes as in sync.
func (c *cluster) inSync(nodes ...ballast.NodeID) {
	c.t.Helper()
	c.until("in sync", func() bool {
		m := c.record.members()
		for _, n := range nodes {
			if !slices.Contains(m.InSync, n) {
				return false
			}
		}
		return true
	})
}

// until polls: for what no channel tells. In a bubble it takes no time.
func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // until another goroutine has got there
	}
}

// content is the whole volume, as a leader of it would read it.
func (c *cluster) content(n *node) []byte {
	c.t.Helper()
	m := c.record.claim(n.name)
	v, err := volume.Open(n.disk, "v", volume.Options{Epoch: m.Epoch, LogCapacity: 64 << 20})
	if err != nil {
		c.t.Fatal(err)
	}
	defer v.Close()
	p := make([]byte, v.Size())
	if _, err := v.ReadAt(p, 0); err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *cluster) sameContent(a, b *node) {
	c.t.Helper()
	if pa, pb := c.content(a), c.content(b); !bytes.Equal(pa, pb) {
		for i := 0; i < min(len(pa), len(pb)); i += ballast.BlockSize {
			if !bytes.Equal(pa[i:i+ballast.BlockSize], pb[i:i+ballast.BlockSize]) {
				c.t.Fatalf("%s and %s differ in block %d: % x… and % x…", a.name, b.name, i/ballast.BlockSize, pa[i:i+16], pb[i:i+16])
			}
		}
		c.t.Fatalf("%s has %d bytes, %s %d", a.name, len(pa), b.name, len(pb))
	}
}

// block is what the tests write.
func block(tag byte) []byte { return bytes.Repeat([]byte{tag}, ballast.BlockSize) }
