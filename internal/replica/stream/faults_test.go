package stream_test

import (
	"context"
	"errors"
	"net"
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
