package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

// A leader without a byte goes on from a copy elsewhere (Prepare), and reads its chunks.
func TestPrepareAndChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, b := pair(t)
		l.put(t, 1, 42)
		last, _, _ := l.v.Position()
		l.close(t)
		m := c.record.claim("n3")
		p := make([]byte, ballast.ChunkSize)
		// A copy that has not heard of the new leader may lack the end of what the one before
		// had acknowledged, also where all that it has is committed.
		leader := volume.Beginning{Reign: volume.Reign{Epoch: m.Epoch, From: last + 1}, After: m.Epoch - 1}
		if err := b.r.Chunk(t.Context(), testID, leader, 0, p); !errors.Is(err, ballast.ErrNotReady) {
			t.Errorf("Chunk before the copy follows = %v; want ErrNotReady", err)
		}
		point, err := b.r.Prepare(t.Context(), testID, m.Epoch)
		if err != nil {
			t.Fatal(err)
		}
		if point.LSN != last || point.Size != testSize || point.Lineage.Epoch() != m.Epoch {
			t.Errorf("Prepare = %+v; want LSN %d, size %d, %v", point, last, testSize, m.Epoch)
		}
		// Prepared for nothing: its answer was lost, and the leader went on from another copy,
		// which ends elsewhere. Chunks of both would be of no moment that there ever was.
		// It may also have come to the same end another way.
		for _, other := range []volume.Beginning{
			{Reign: volume.Reign{Epoch: m.Epoch, From: last}, After: m.Epoch - 1},
			{Reign: volume.Reign{Epoch: m.Epoch, From: last + 2}, After: m.Epoch - 1},
			{Reign: volume.Reign{Epoch: m.Epoch, From: last + 1}, After: m.Epoch - 2},
		} {
			if err := b.r.Chunk(t.Context(), testID, other, 0, p); !errors.Is(err, ballast.ErrNotReady) {
				t.Errorf("Chunk for a leader that began at %v = %v; want ErrNotReady", other, err)
			}
		}
		if err := b.r.Chunk(t.Context(), testID, leader, 0, p); err != nil {
			t.Fatal(err)
		}
		if p[ballast.BlockSize] != 42 {
			t.Errorf("chunk 0 has %d in block 1; want 42", p[ballast.BlockSize])
		}
		if _, err := b.r.Prepare(t.Context(), testID, m.Epoch-1); !errors.Is(err, volume.ErrStaleEpoch) {
			t.Errorf("Prepare under a lower epoch = %v; want ErrStaleEpoch", err)
		}
		b.stop()
	})
}

// R8: who asks again under the epoch that it asked under gets the same answer, and none once there are
// records of that epoch: the copy's end is not the one then that it went on from.
func TestPrepareAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, b := pair(t)
		l.put(t, 1, 42)
		l.close(t)
		m := c.record.claim("n1")
		first, err := b.r.Prepare(t.Context(), testID, m.Epoch)
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.r.Prepare(t.Context(), testID, m.Epoch)
		if err != nil || !reflect.DeepEqual(again, first) {
			t.Errorf("Prepare once more = %+v, %v; want %+v", again, err, first)
		}
		c.record.mu.Lock()
		c.record.m.Epoch-- // the next claim is of the epoch that was prepared for
		c.record.mu.Unlock()
		l = c.lead(c.nodes["n1"])
		c.inSync("n2")
		l.put(t, 2, 43)
		if p, err := b.r.Prepare(t.Context(), testID, m.Epoch); !errors.Is(err, ballast.ErrInUse) {
			t.Errorf("Prepare when the writer has written = %+v, %v; want ErrInUse", p, err)
		}
		l.put(t, 3, 44)
		l.close(t)
		b.stop()
		c.sameContent(c.nodes["n1"], b)
	})
}

// R3: a copy that was given up and placed again on its node is another one: the stream to the first
// ends, and what is there now is asked where it stands. While its files go, nobody streams to it.
func TestCopyPlacedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, b := pair(t)
		l.put(t, 1, 42)
		c.record.mu.Lock()
		c.record.m.Copies = []replica.Peer{{Node: "n1", Address: "n1"}, {Node: "n2", Address: "n2", Added: c.record.m.Revision}}
		c.record.m.InSync, c.record.m.Revision = []ballast.NodeID{"n1"}, c.record.m.Revision+2
		c.record.mu.Unlock()
		opened := b.opens.Load()
		if err := b.r.Drop(t.Context(), testID, func() error {
			l.hub.SetMembers(c.record.members())
			time.Sleep(time.Second) // it is greeted meanwhile, in vain
			if b.opens.Load() != opened || slices.Contains(c.record.members().InSync, "n2") {
				t.Error("the copy was opened, or counts, while it is deleted")
			}
			b.disk = crashfs.New()
			return errors.Join(b.disk.Mkdir("v"), b.disk.SyncDir("."))
		}); err != nil {
			t.Fatal(err)
		}
		c.inSync("n2")
		l.put(t, 2, 43)
		l.close(t)
		b.stop()
		c.sameContent(c.nodes["n1"], b)
	})
}

// refused sends a hello, and returns the refusal.
func refused(t *testing.T, c *cluster, hello *wire.Hello) *wire.Refuse {
	t.Helper()
	conn, err := c.dial("n1")(t.Context(), replica.Peer{Node: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := wire.Write(conn, hello); err != nil {
		t.Fatal(err)
	}
	m, err := wire.NewReader(conn).Next()
	if err != nil {
		t.Fatal(err)
	}
	r, ok := m.(*wire.Refuse)
	if !ok {
		t.Fatalf("the answer is %+v; want a refusal", m)
	}
	return r
}

// Who may not stream is told why, and the stream that is there goes on.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "n1", "n2")
		c.record.m.Epoch = 5
		b := c.nodes["n2"]
		c.receive(b)
		l := c.lead(c.nodes["n1"])
		c.inSync("n2")
		good := wire.Hello{Min: 1, Max: 1, Cluster: "c", Volume: testID, Node: "n1", Epoch: c.record.members().Epoch, Size: testSize}
		for _, tt := range []struct {
			name   string
			change func(*wire.Hello)
			code   wire.Code
			text   string
		}{
			{"a release two ahead", func(h *wire.Hello) { h.Min, h.Max = 2, 3 }, wire.CodeVersion, "upgrade the older one"},
			{"another cluster", func(h *wire.Hello) { h.Cluster = "d" }, wire.CodeCluster, "another cluster"},
			{"for another node", func(h *wire.Hello) { h.Node = "n3" }, wire.CodeNotAllowed, "may not speak for"},
			{"a lower epoch", func(h *wire.Hello) { h.Epoch-- }, wire.CodeEpoch, ""},
			{"an epoch to come", func(h *wire.Hello) { h.Epoch++ }, wire.CodeBusy, ""},
		} {
			h := good
			tt.change(&h)
			if r := refused(t, c, &h); r.Code != tt.code || !strings.Contains(r.Text, tt.text) {
				t.Errorf("%s: refused with %v %q; want %v %q", tt.name, r.Code, r.Text, tt.code, tt.text)
			}
		}
		if took := l.put(t, 1, 1); took > time.Millisecond {
			t.Errorf("after all that a flush took %v", took)
		}
		l.close(t)
		b.stop()
	})
}

// A release ahead that still speaks version 1 is served.
func TestAReleaseAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "n1", "n2")
		c.record.claim("n1")
		c.receive(c.nodes["n2"])
		conn, err := c.dial("n1")(t.Context(), replica.Peer{Node: "n2"})
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Write(conn, &wire.Hello{Min: 1, Max: 2, Cluster: "c", Volume: testID, Node: "n1", Epoch: 1, Size: testSize}); err != nil {
			t.Fatal(err)
		}
		m, err := wire.NewReader(conn).Next()
		if w, ok := m.(*wire.Welcome); err != nil || !ok || w.Version != 1 {
			t.Errorf("the answer is %+v, %v; want a welcome in version 1", m, err)
		}
		conn.Close()
		c.nodes["n2"].stop()
	})
}

// FuzzPeer has a leader talk to a copy that says anything: it is given up and dialled
// again, and what the leader has is not touched.
func FuzzPeer(f *testing.F) {
	welcome := wire.Encode(nil, &wire.Welcome{Version: 1, Node: "n2", Size: testSize, Complete: true})
	f.Add(welcome)
	f.Add(wire.Encode(slices.Clone(welcome), &wire.Ack{}))
	f.Add(wire.Encode(wire.Encode(slices.Clone(welcome), &wire.Ack{}), &wire.Ack{Received: 99, Durable: 99}))
	f.Add(wire.Encode(slices.Clone(welcome), &wire.Staged{Chunks: []wire.StagedChunk{{Chunk: 1 << 20, LSN: 7}}}))
	f.Add(wire.Encode(nil, &wire.Refuse{Code: 99, Text: "no"}))
	f.Fuzz(func(t *testing.T, says []byte) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, "n1", "n2")
			dials := make(chan struct{}, 100)
			c.dialer = func(context.Context, replica.Peer) (net.Conn, error) {
				here, there := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, there) }()
				go func() { _, _ = there.Write(says) }()
				select {
				case dials <- struct{}{}:
				default:
				}
				return here, nil
			}
			l := c.lead(c.nodes["n1"])
			<-dials
			l.put(t, 1, 1)
			<-dials // it was given up
			l.put(t, 2, 2)
			l.close(t)
		})
	})
}
