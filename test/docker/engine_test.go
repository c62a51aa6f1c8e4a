package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

// patience is how long a test waits for what must happen; what takes longer has
// not happened. It is no limit on speed.
const patience = time.Minute

// engine is the Docker Engine of the shared machine, as one test uses it: what
// the test leaves in it is removed at its end.
type engine struct {
	t *testing.T
	m *lab.Machine

	logStart int // length of the Engine's log when the test began
}

func newEngine(t *testing.T) engine {
	t.Helper()
	if shared.skip != "" {
		t.Skip(shared.skip)
	}
	shared.folders.reset()
	e := engine{t: t, m: shared.machine}
	e.logStart = len(e.log())
	t.Cleanup(e.clean)
	return e
}

// clean removes every container and volume, and complains of what stays.
func (e engine) clean() {
	shared.folders.script(nil)
	shared.folders.lose(nil)
	if !e.m.Dockerd.Running() {
		e.boot()
	}
	e.removeAllVolumes()
	if left := e.ok("volume", "ls", "-q"); left != "" {
		e.t.Errorf("volumes left behind: %q", left)
	}
}

func (e engine) removeAllVolumes() {
	e.t.Helper()
	e.removeAll("rm", "-fv", "ps", "-aq")
	e.removeAll("volume", "rm", "volume", "ls", "-q")
}

// removeAll runs a command on everything that another one lists.
func (e engine) removeAll(verb, flag string, list ...string) {
	if all := strings.Fields(e.ok(list...)); len(all) > 0 {
		e.ok(append([]string{verb, flag}, all...)...)
	}
}

// ok runs a docker command that must succeed and returns what it prints.
func (e engine) ok(args ...string) string {
	e.t.Helper()
	out, err := e.try(args...)
	if err != nil {
		e.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// fails runs a docker command that must fail and returns what it prints.
func (e engine) fails(args ...string) string {
	e.t.Helper()
	out, err := e.try(args...)
	if err == nil {
		e.t.Fatalf("docker %s succeeded; want an error\n%s", strings.Join(args, " "), out)
	}
	return out
}

func (e engine) try(args ...string) (string, error) {
	e.t.Helper()
	s := e.start(args...)
	<-s.done
	return s.output(), s.err
}

// started is a docker command that runs beside the test.
type started struct {
	cmd  *exec.Cmd
	out  bytes.Buffer  // read it with output
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
}

// start runs a docker command beside the test; the end of the test ends it.
func (e engine) start(args ...string) *started {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	s := &started{cmd: e.m.Command(ctx, "docker", args...), done: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := e.m.Start(s.cmd); err != nil {
		cancel()
		e.t.Fatalf("start docker %s: %v", strings.Join(args, " "), err)
	}
	go func() { defer close(s.done); s.err = s.cmd.Wait() }()
	e.t.Cleanup(func() { cancel(); <-s.done })
	return s
}

// output returns what the command has printed, once it has ended.
func (s *started) output() string {
	<-s.done
	return strings.TrimSpace(s.out.String())
}

func (s *started) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// eventually waits until something that must happen has.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for !happened() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", patience, what)
		}
		<-pause.C
	}
}

// runBusybox runs a busybox command in a container and returns what it prints.
func (e engine) runBusybox(args ...string) string {
	e.t.Helper()
	return e.ok(append([]string{"run", "--network", "none"}, args...)...)
}

// inspected is what docker volume inspect says, as far as tests look.
type inspected struct {
	Driver, Scope, Mountpoint string
	Options, Labels           map[string]string
	Status                    map[string]any
}

func (e engine) inspect(volume string) inspected {
	e.t.Helper()
	var all []inspected
	out := e.ok("volume", "inspect", volume)
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		e.t.Fatalf("docker volume inspect %s: %v in %s", volume, err, out)
	}
	return all[0]
}

// mounts returns the name and driver of each of a container's mounts.
func (e engine) mounts(container string) string {
	e.t.Helper()
	return e.ok("inspect", "--format", "{{range .Mounts}}{{.Name}} {{.Driver}}\n{{end}}", container)
}
