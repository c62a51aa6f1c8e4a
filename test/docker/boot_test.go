package docker

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	driver "github.com/ballast-io/ballast/internal/driver/docker"
)

// The tests of this file start an Engine that knows 20 volumes. It asks for each
// before it answers anybody, and forgets those that it is told are not there.

const bootVolumes = 20

func bootName(i int) string { return fmt.Sprintf("boot%02d", i) }

func (e engine) makeBootVolumes(driver string) {
	e.t.Helper()
	for i := range bootVolumes {
		e.ok("volume", "create", "-d", driver, "-o", "size=1G", "--label", "n="+bootName(i), bootName(i))
	}
}

func (e engine) wantBootVolumes(driver string) {
	e.t.Helper()
	for i := range bootVolumes {
		if got := e.inspect(bootName(i)); got.Driver != driver || got.Labels["n"] != bootName(i) || got.Options["size"] != "1G" {
			e.t.Errorf("volume %s: docker knows %+v; want all as it was", bootName(i), got)
		}
	}
}

// launch starts the Engine and does not wait for it.
func (e engine) launch() {
	e.t.Helper()
	if err := e.m.Dockerd.Launch(); err != nil {
		e.t.Fatal(err)
	}
}

// up waits for an Engine that was launched.
func (e engine) up() {
	e.t.Helper()
	eventually(e.t, "docker answers", func() bool { _, err := e.try("version"); return err == nil })
}

// TestBootWhileUnready: an agent that is there and knows nothing yet holds the
// questions until it does.
func TestBootWhileUnready(t *testing.T) {
	e := newEngine(t)
	e.makeBootVolumes("folders")
	e.kill()
	shared.folders.script(failing("get", ballast.ErrNotReady))
	before, _ := shared.folders.count("Get")
	e.launch()
	eventually(t, "docker asks for every volume", func() bool {
		now, _ := shared.folders.count("Get")
		return now >= before+bootVolumes
	})
	shared.folders.script(nil)
	e.up()
	e.wantBootVolumes("folders")
}

// TestBootBeforeDriver: the driver comes after Docker.
func TestBootBeforeDriver(t *testing.T) {
	e := newEngine(t)
	late := newFolders(e.m.Path("late-boot"))
	stop := e.serve("late-boot", late)
	e.makeBootVolumes("late-boot")
	e.kill()
	stop()
	e.launch()
	eventually(t, "docker looks for the driver", func() bool { return e.logged("Unable to locate plugin: late-boot") })
	e.serve("late-boot", late)
	e.up()
	e.wantBootVolumes("late-boot")
}

// TestBootWithSocketOnly: with a socket that somebody will answer, as systemd makes
// one, Docker waits instead of looking again and again.
func TestBootWithSocketOnly(t *testing.T) {
	e := newEngine(t)
	later := newFolders(e.m.Path("socket-boot"))
	stop := e.serve("socket-boot", later)
	e.makeBootVolumes("socket-boot")
	e.kill()
	stop()
	l, err := driver.Listen(t.Context(), pluginSocket(e.m, "socket-boot"))
	if err != nil {
		t.Fatal(err)
	}
	e.launch()
	first, err := l.Accept() // docker asks, and nobody answers yet
	if err != nil {
		t.Fatal(err)
	}
	e.serveOn(&pushedBack{Listener: l, first: first}, later)
	e.up()
	e.wantBootVolumes("socket-boot")
	if e.logged("Unable to locate plugin: socket-boot") {
		t.Error("docker looked for the driver again; want it to wait at the socket")
	}
}

// pushedBack is a listener whose first connection was taken out already.
type pushedBack struct {
	net.Listener
	first net.Conn
}

func (p *pushedBack) Accept() (net.Conn, error) {
	if conn := p.first; conn != nil {
		p.first = nil
		return conn, nil
	}
	return p.Listener.Accept()
}

// TestBootBeforeAgent is the same with Ballast itself.
func TestBootBeforeAgent(t *testing.T) {
	e, b := newAgentEngine(t)
	e.makeBootVolumes("ballast")
	e.kill()
	b.killAgent(t)
	e.launch()
	eventually(t, "docker looks for the driver", func() bool {
		return e.logged("Unable to locate plugin: ballast") || e.logged("Unable to connect to plugin")
	})
	b.startAgent(t)
	e.up()
	e.wantBootVolumes("ballast")
	e.runBusybox("--rm", "-v", bootName(7)+":/mnt", "busybox", "touch", "/mnt/key")
}

// idle says whether no call is under way.
func (f *folders) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.busy == 0
}

// forget drops every hold on a volume, as an agent that asks Docker would.
func (f *folders) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.holders, name)
}

// loseFirst loses the connection of the next call of a kind.
func (f *folders) loseFirst(call string) {
	lost := false
	f.lose(func(path string) bool {
		hit := !lost && strings.HasSuffix(path, "."+call)
		lost = lost || hit
		return hit
	})
}

// killAgent ends the agent as a crash does.
func (b onAgent) killAgent(t *testing.T) {
	t.Helper()
	if err := b.m.Agent.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !b.m.Agent.Running() {
			b.startAgent(t)
		}
	})
}

func (b onAgent) startAgent(t *testing.T) {
	t.Helper()
	if err := b.m.Agent.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
}
