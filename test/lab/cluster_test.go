package lab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestLinks asks real connections for every fault that a link can have.
func TestLinks(t *testing.T) {
	c := labtest.NewCluster(t, 3, lab.ClusterOptions{Apart: true})
	n1, n2, n3 := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	echoes := map[*lab.Node]net.Conn{}
	for _, n := range c.Nodes {
		serveEcho(t, n)
	}
	echoes[n1] = dial(t, n1, n2)
	echoes[n2] = dial(t, n2, n3)

	for _, tt := range []struct {
		name  string
		fault func(context.Context) error
		want  [3]bool // n1 and n2, n2 and n3, n1 and n3: whether requests are answered
	}{
		{"as made", c.Heal, [3]bool{true, true, true}},
		{"cut", func(ctx context.Context) error { return c.Cut(ctx, n1, n2) }, [3]bool{false, true, true}},
		{"healed", c.Heal, [3]bool{true, true, true}},
		{"cut one way", func(ctx context.Context) error { return c.CutOneWay(ctx, n3, n1) }, [3]bool{true, true, false}},
		{"isolated too", func(ctx context.Context) error { return c.Isolate(ctx, n2) }, [3]bool{false, false, false}},
		{"one link healed", func(ctx context.Context) error { return c.HealLink(ctx, n1, n3) }, [3]bool{false, false, true}},
		{"all lost", func(ctx context.Context) error { return errors.Join(c.Heal(ctx), c.Lossy(ctx, n1, n2, 1)) }, [3]bool{false, true, true}},
		{"healed again", c.Heal, [3]bool{true, true, true}},
	} {
		if err := tt.fault(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := [3]bool{pings(t, n1, n2, tt.want[0]), pings(t, n2, n3, tt.want[1]), pings(t, n1, n3, tt.want[2])}
		if got != tt.want {
			t.Errorf("%s: answered: %v; want %v", tt.name, got, tt.want)
		}
	}
	// Connections of before live on: what was lost is sent again.
	for n, conn := range echoes {
		if _, err := echo(conn, "still there"); err != nil {
			t.Errorf("a connection of %s did not outlive the cuts: %v", n.Name, err)
		}
	}
}

// TestOneWay asks for the direction: requests arrive, and their answers do not.
func TestOneWay(t *testing.T) {
	c := labtest.NewCluster(t, 2, lab.ClusterOptions{Apart: true})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	packets, err := listenPacket(t, n2)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		fault   func(context.Context) error
		arrives bool
	}{
		{"from the receiver", func(ctx context.Context) error { return c.CutOneWay(ctx, n2, n1) }, true},
		{"to the receiver", func(ctx context.Context) error { return errors.Join(c.Heal(ctx), c.CutOneWay(ctx, n1, n2)) }, false},
	} {
		if err := tt.fault(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn, err := n1.Dial(t.Context(), "udp", n2.Address+":7")
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(conn, tt.name)
		if err := errors.Join(err, conn.Close()); err != nil {
			t.Fatal(err)
		}
		if got := arrives(t, packets, tt.name, tt.arrives); got != tt.arrives {
			t.Errorf("%s cut: arrived: %t; want %t", tt.name, got, tt.arrives)
		}
	}
}

// TestSlow measures what a slow link does: no answer comes sooner than the delay allows,
// and no more comes through than the rate.
func TestSlow(t *testing.T) {
	c := labtest.NewCluster(t, 2, lab.ClusterOptions{Apart: true})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	serveEcho(t, n2)
	conn := dial(t, n1, n2)
	const delay = 40 * time.Millisecond
	if err := c.Slow(t.Context(), n1, n2, delay, 0); err != nil {
		t.Fatal(err)
	}
	took, err := echo(conn, "hello")
	if err != nil || took < 2*delay {
		t.Errorf("with a delay of %v each way, the answer took %v, %v", delay, took, err)
	}
	const rate = 1 << 20
	if err := c.Slow(t.Context(), n1, n2, 0, rate); err != nil {
		t.Fatal(err)
	}
	took, err = echo(conn, strings.Repeat("x", rate/2))
	// Both directions at the same time; a little may be on its way at once.
	if least := 400 * time.Millisecond; err != nil || took < least {
		t.Errorf("at %d bytes a second, half of that took %v, %v; want at least %v", rate, took, err, least)
	}
	if err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := echo(conn, "hello"); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestPower asks for what a machine has after its power was off, and off with its cache
// lost: the disk, with what was synced, the network, and nothing that ran.
func TestPower(t *testing.T) {
	c := labtest.NewCluster(t, 2, lab.ClusterOptions{Apart: true, Machine: lab.Options{Disk: 512 << 20}})
	n := c.Nodes[1]
	for i, tt := range []struct {
		name  string
		off   func(context.Context) error
		keeps bool // what was not synced
	}{
		{"switched off", n.PowerOff, true},
		{"power cut", n.CutPower, false},
	} {
		synced, lost := fmt.Sprintf("synced%d", i), fmt.Sprintf("unsynced%d", i)
		write(t, n, synced, true)
		write(t, n, lost, false)
		if err := n.Agent.Launch(); err != nil {
			t.Fatal(err)
		}
		if err := tt.off(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Output(t.Context(), "true"); !errors.Is(err, lab.ErrOff) {
			t.Errorf("%s: a program ran: %v", tt.name, err)
		}
		if err := n.Machine.PowerOn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n.Agent.Running() {
			t.Errorf("%s: the agent runs on", tt.name)
		}
		if got := read(t, n, synced); got != synced {
			t.Errorf("%s: the synced file holds %q", tt.name, got)
		}
		if got := read(t, n, lost); (got == lost) != tt.keeps {
			t.Errorf("%s: the file that was not synced holds %q; want it kept: %t", tt.name, got, tt.keeps)
		}
		if !pings(t, c.Nodes[0], n, true) {
			t.Errorf("%s: it cannot be reached afterwards", tt.name)
		}
	}
}

// TestFillDisk asks the kernel whether a disk is full.
func TestFillDisk(t *testing.T) {
	c := labtest.NewCluster(t, 1, lab.ClusterOptions{Apart: true, Machine: lab.Options{Disk: 512 << 20}})
	n := c.Nodes[0]
	write1M := func() error {
		_, err := n.Output(t.Context(), "dd", "if=/dev/zero", "of="+n.Path("ballast", "file"), "bs=1M", "count=1")
		return err
	}
	if err := n.FillDisk(64 << 10); err != nil {
		t.Fatal(err)
	}
	if err := write1M(); err == nil || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("on a full disk: %v", err)
	}
	if err := n.FreeDisk(); err != nil {
		t.Fatal(err)
	}
	if err := write1M(); err != nil {
		t.Error(err)
	}
	if err := n.FillDisk(64 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Output(t.Context(), "sync"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.FreeDisk(), n.CutPower(t.Context()), n.Machine.PowerOn(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Output(t.Context(), "fallocate", "-l", "16M", n.Path("ballast", "other")); err != nil {
		t.Errorf("freed, and then its power was cut: %v", err)
	}
}

// TestStop asks for a machine in which nothing goes on, and then goes on.
func TestStop(t *testing.T) {
	c := labtest.NewCluster(t, 1, lab.ClusterOptions{Apart: true})
	n := c.Nodes[0]
	ticker := n.Command(t.Context(), "sh", "-c", "while :; do echo tick; sleep 0.01; done")
	out, err := ticker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(ticker); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- ticker.Wait() }() // its machine is not gone before
	ticks := make(chan struct{})
	go func() {
		defer close(ticks)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case ticks <- struct{}{}:
			case <-t.Context().Done():
				return
			}
		}
	}()
	<-ticks
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", ticker.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(text))[2]
	}
	if got := state(); got != "T" {
		t.Errorf("a process of the stopped machine is in state %s; want T", got)
	}
	if err := n.Continue(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-ticks
	}
	// A machine that is stopped can be switched off like any other.
	if err := errors.Join(n.Stop(t.Context()), n.PowerOff(t.Context())); err != nil {
		t.Fatal(err)
	}
	<-ended // it was killed
}

// TestClusterLeavesNothing asks for L1, with one machine switched off.
func TestClusterLeavesNothing(t *testing.T) {
	c := labtest.NewCluster(t, 2, lab.ClusterOptions{Apart: true, Machine: lab.Options{Disk: 512 << 20}})
	pid := litter(t, c.Nodes[0].Machine)
	if err := c.Slow(t.Context(), c.Nodes[0], c.Nodes[1], time.Millisecond, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[1].Machine.PowerOff(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, c.Dir, pid)
}

// serveEcho answers on port 7 of a node until the test ends.
func serveEcho(t *testing.T, n *lab.Node) {
	t.Helper()
	l, err := n.Listen(t.Context(), "tcp", n.Address+":7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // until the other has enough
			}()
		}
	}()
}

func dial(t *testing.T, from, to *lab.Node) net.Conn {
	t.Helper()
	conn, err := from.Dial(t.Context(), "tcp", to.Address+":7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// echo sends a text there and back, and says how long that took.
func echo(conn net.Conn, text string) (time.Duration, error) {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, text)
		sent <- err
	}()
	_, err := io.ReadFull(conn, make([]byte, len(text)))
	return time.Since(began), errors.Join(err, <-sent)
}

// pings reports whether one node hears an answer of another. Where one is expected, a busy
// machine may take its time.
func pings(t *testing.T, from, to *lab.Node, expected bool) bool {
	t.Helper()
	tries := 1
	if expected {
		tries = 20
	}
	for range tries {
		cmd := from.Command(t.Context(), "/bin/busybox", "ping", "-c", "1", "-W", "1", to.Name)
		if from.Run(cmd) == nil {
			return true
		}
	}
	return false
}

func listenPacket(t *testing.T, n *lab.Node) (net.PacketConn, error) {
	conn, err := n.ListenPacket(t.Context(), "udp", n.Address+":7")
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// arrives reports whether a packet comes, and that it is the right one.
func arrives(t *testing.T, conn net.PacketConn, want string, expected bool) bool {
	t.Helper()
	limit := time.Second
	if expected {
		limit = 20 * time.Second
	}
	if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, _, err := conn.ReadFrom(buf)
	if err == nil && string(buf[:n]) != want {
		t.Errorf("%q arrived; want %q", buf[:n], want)
	}
	return err == nil
}

func write(t *testing.T, n *lab.Node, name string, sync bool) {
	t.Helper()
	f, err := os.Create(n.Outside(filepath.Join(n.Dir, "ballast", name)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(name)
	if sync {
		err = errors.Join(err, f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, n *lab.Node, name string) string {
	t.Helper()
	text, err := os.ReadFile(n.Outside(filepath.Join(n.Dir, "ballast", name)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}
