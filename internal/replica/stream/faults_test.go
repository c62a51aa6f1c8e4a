package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/stream"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

// pair is a leader on n1 with a copy in sync on n2.
func pair(t *testing.T) (c *cluster, l *leader, b *node) {
	t.Helper()
	c = newCluster(t, "n1", "n2")
	b = c.nodes["n2"]
	c.receive(b)
	l = c.lead(c.nodes["n1"])
	c.inSync("n2")
	return c, l, b
}

// put writes a block and flushes it, and says how long the flush took.
func (l *leader) put(t *testing.T, n int64, tag byte) time.Duration {
	t.Helper()
	if _, err := l.v.WriteAt(block(tag), n*ballast.BlockSize); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := l.v.Flush(); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// state is what the stream to the first peer does.
func (l *leader) state() stream.State {
	if all := l.hub.Status(); len(all) > 0 {
		return all[0].State
	}
	return ""
}

// valve is a connection whose bytes go nowhere while it is shut.
type valve struct {
	net.Conn
	shut *atomic.Bool
}

// Write says that all is well.
func (v valve) Write(p []byte) (int, error) {
	if v.shut.Load() {
		return len(p), nil
	}
	return v.Conn.Write(p)
}

// S3, and what a lost machine costs: one wait of the patience, and writes go on without it.
func TestHalfOpenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "n1", "n2")
		b := c.nodes["n2"]
		var shut atomic.Bool
		c.cut = func(conn net.Conn) net.Conn { return valve{conn, &shut} }
		c.receive(b)
		l := c.lead(c.nodes["n1"])
		c.inSync("n2")
		l.put(t, 1, 1)
		shut.Store(true)
		if took := l.put(t, 2, 2); took < 2*time.Second || took > 5*time.Second {
			t.Errorf("the first flush without the copy took %v; want about the patience", took)
		}
		if m := c.record.members(); slices.Contains(m.InSync, "n2") {
			t.Errorf("in sync are %v; want n2 removed", m.InSync)
		}
		if took := l.put(t, 3, 3); took > time.Millisecond {
			t.Errorf("the next flush took %v", took)
		}
		c.until("the connection to be given up", func() bool { return l.state() == stream.Connecting })
		shut.Store(false)
		c.inSync("n2")
		l.put(t, 4, 4)
		l.close(t)
		b.stop()
		c.sameContent(c.nodes["n1"], b)
	})
}

// G3: a copy that was taken by a later writer acknowledges nothing to the one before.
func TestFencedByALaterWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, b := pair(t)
		l.put(t, 1, 1)
		c.record.late.Store(true) // the copy alone knows
		m := c.record.claim("n2")
		if err := b.r.Take(t.Context(), testID, m.Epoch); err != nil {
			t.Fatal(err)
		}
		if _, err := l.v.WriteAt(block(2), 0); err != nil {
			t.Fatal(err)
		}
		if err := l.v.Flush(); !errors.Is(err, stream.ErrFenced) {
			t.Errorf("Flush of the earlier writer = %v; want ErrFenced", err)
		}
		l.stop()
		_ = l.v.Close() // it is fenced off
		b.stop()
	})
}

// R4: what a copy got that its later leader never had is cut there.
func TestTailIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "n1", "n2", "n3")
		c.receive(c.nodes["n3"])
		l := c.lead(c.nodes["n1"])
		c.inSync("n3")
		c.record.refuse()
		c.nodes["n3"].stop() // it gets nothing more
		c.mu.Lock()
		c.nodes["n3"].r = nil
		c.blank(c.nodes["n2"])
		c.receive(c.nodes["n2"])
		c.mu.Unlock()
		if _, err := l.v.WriteAt(block(66), 0); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.v.Flush() }()
		c.until("n2 to have the tail", func() bool { all := c.nodes["n2"].r.Copies(); return len(all) > 0 && all[0].Durable > 0 })
		l.stop()
		if err := <-done; err == nil {
			t.Error("a flush was acknowledged that an in-sync copy does not have")
		}
		_ = l.v.Close() // it died
		c.record.fail = nil
		l = c.lead(c.nodes["n3"])
		c.inSync("n2")
		l.put(t, 1, 1)
		l.close(t)
		c.nodes["n2"].stop()
		c.sameContent(c.nodes["n3"], c.nodes["n2"])
	})
}

// R1: received is not durable.
func TestReceivedIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "n1", "n2")
		c.record.m.InSync = []ballast.NodeID{"n1", "n2"}
		c.record.m.MinCopies = 2
		c.dialer = func(context.Context, replica.Peer) (net.Conn, error) {
			here, there := net.Pipe()
			go lazyPeer(there)
			return here, nil
		}
		l := c.lead(c.nodes["n1"])
		if _, err := l.v.WriteAt(block(1), 0); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.v.Flush() }()
		time.Sleep(time.Minute) // it has all the time it wants
		select {
		case err := <-done:
			t.Errorf("Flush = %v, and the copy never said durable", err)
		default:
		}
		l.stop()
		if err := <-done; !errors.Is(err, stream.ErrEnded) {
			t.Errorf("Flush = %v; want ErrEnded", err)
		}
		_ = l.v.Close() // it is poisoned
	})
}

// lazyPeer is a copy that takes everything, and syncs nothing.
func lazyPeer(conn net.Conn) {
	defer conn.Close()
	in := wire.NewReader(conn)
	for {
		m, err := in.Next()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *wire.Hello:
			err = wire.Write(conn, &wire.Welcome{Version: 1, Node: "n2", Size: m.Size, Complete: true})
		case *wire.Follow:
			err = wire.Write(conn, &wire.Ack{Received: m.Cut, Durable: m.Cut})
		case *wire.Append:
			err = wire.Write(conn, &wire.Ack{Received: m.Batch.Last()})
		case *wire.Ping:
			err = wire.Write(conn, &wire.Ping{NextMillis: 1000})
		}
		if err != nil {
			return
		}
	}
}

// S4: whoever waits when the streams are ended is told.
func TestEndedStreamsAnswerWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, b := pair(t)
		b.stop()
		c.nodes["n2"].r = nil
		if _, err := l.v.WriteAt(block(2), 0); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.v.Flush() }()
		synctest.Wait()
		l.stop()
		if err := <-done; !errors.Is(err, stream.ErrEnded) {
			t.Errorf("Flush = %v; want ErrEnded", err)
		}
		_ = l.v.Close() // it is poisoned
	})
}

// A full disk there is said here, costs no writer anything but the removal, and heals.
func TestFullDiskOfACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, b := pair(t)
		var full atomic.Bool
		b.disk.(*crashfs.FS).FailWith(func(_ int, kind string) error {
			if full.Load() && (kind == "write" || kind == "create") {
				return syscall.ENOSPC
			}
			return nil
		})
		full.Store(true)
		l.put(t, 1, 1)
		c.until("why", func() bool { return strings.Contains(l.hub.Status()[0].Err, "no space left") })
		full.Store(false)
		c.inSync("n2")
		l.put(t, 2, 2)
		l.close(t)
		b.stop()
		c.sameContent(c.nodes["n1"], b)
	})
}

// The size travels before the first record that needs it.
func TestResizeTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, b := pair(t)
		if err := l.v.Resize(2 * testSize); err != nil {
			t.Fatal(err)
		}
		if took := l.put(t, testSize/ballast.BlockSize, 7); took > time.Second {
			t.Errorf("the flush took %v: the copy did not take it", took)
		}
		l.close(t)
		b.stop()
		c.sameContent(c.nodes["n1"], b)
	})
}

// F4, and what it costs: nothing but the time to open.
func TestIdleCopyIsClosedAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, b := pair(t)
		l.put(t, 1, 1)
		before := b.opens.Load()
		time.Sleep(10 * time.Minute) // nothing happens
		l.put(t, 2, 2)
		if got := b.opens.Load(); got != before+1 {
			t.Errorf("the copy was opened %d times over the idle time; want once, when it was needed", got-before)
		}
		if s := l.hub.Status()[0]; s.State != stream.Streaming || !slices.Contains(c.record.members().InSync, "n2") {
			t.Errorf("after the idle time: %+v", s)
		}
		l.close(t)
		b.stop()
		c.sameContent(c.nodes["n1"], b)
	})
}

// A copy that was away for longer than the log goes back gets chunks, and only those.
func TestAwayForLongerThanTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "n1", "n2")
		c.queue = 0
		b := c.nodes["n2"]
		c.receive(b)
		l := c.lead(c.nodes["n1"])
		c.inSync("n2")
		b.stop()
		b.r = nil
		p := make([]byte, ballast.ChunkSize)
		for i := range 80 { // more than the log can hold
			for j := range p {
				p[j] = byte(i)
			}
			if _, err := l.v.WriteAt(p, int64(i%2)*ballast.ChunkSize); err != nil {
				t.Fatal(err)
			}
			if err := l.v.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		c.mu.Lock()
		c.receive(b)
		c.mu.Unlock()
		c.inSync("n2")
		l.put(t, 900, 9)
		l.close(t)
		b.stop()
		c.sameContent(c.nodes["n1"], b)
	})
}

// S2: a copy that takes nothing makes no writer wait that does not need it, and the ring
// is all that is kept for it.
func TestStuckCopyThatIsNotRequired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "n1", "n2")
		c.record.m.Session = 0 // nobody can be brought in sync
		b := c.nodes["n2"]
		c.blank(b)
		c.receive(b)
		l := c.lead(c.nodes["n1"])
		c.until("streaming", func() bool { return l.state() == stream.Streaming })
		l.put(t, 1, 42)
		synctest.Wait()                                                      // it has segments: else one is waited for under a lock, and time stands still
		b.disk.(*crashfs.FS).BeforeEach(func(int) { time.Sleep(time.Hour) }) // a disk that hangs
		began := time.Now()
		p := make([]byte, ballast.ChunkSize)
		for i := range 64 {
			if _, err := l.v.WriteAt(p, int64(i%4)*ballast.ChunkSize); err != nil {
				t.Fatal(err)
			}
			if err := l.v.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("writing took %v beside a copy that hangs", took)
		}
		b.disk.(*crashfs.FS).BeforeEach(nil)
		l.close(t)
		b.stop()
	})
}

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
		if err := b.r.Chunk(t.Context(), testID, m.Epoch, 0, p); !errors.Is(err, ballast.ErrNotReady) {
			t.Errorf("Chunk before the copy follows = %v; want ErrNotReady", err)
		}
		point, err := b.r.Prepare(t.Context(), testID, m.Epoch)
		if err != nil {
			t.Fatal(err)
		}
		if point.LSN != last || point.Size != testSize || point.Lineage.Epoch() != m.Epoch {
			t.Errorf("Prepare = %+v; want LSN %d, size %d, %v", point, last, testSize, m.Epoch)
		}
		if err := b.r.Chunk(t.Context(), testID, m.Epoch, 0, p); err != nil {
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
