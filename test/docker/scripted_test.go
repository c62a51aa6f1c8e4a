package docker

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	driver "github.com/ballast-io/ballast/internal/driver/docker"
)

// folderBudget is how long the scripted driver holds a call.
const folderBudget = 2 * time.Second

var errMount = errors.New("no disk today")

// failing makes one kind of call fail.
func failing(call string, err error) func(context.Context, string, string) error {
	return func(_ context.Context, c, _ string) error {
		if c == call {
			return err
		}
		return nil
	}
}

// attached returns the IDs of all attaches, in order.
func (f *folders) attached() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ids)
}

// serve runs a driver of its own for a test, until it is stopped or the test ends.
func (e engine) serve(name string, f *folders) (stop func()) {
	e.t.Helper()
	l, err := driver.Listen(e.t.Context(), pluginSocket(e.m, name))
	if err != nil {
		e.t.Fatal(err)
	}
	return e.serveOn(l, f)
}

// serveOn is serve on a listener. The Engine would ask the driver for ever, so the
// Engine is restarted when the test has ended.
func (e engine) serveOn(l net.Listener, f *folders) (stop func()) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.run(ctx, l, driver.Options{}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			e.t.Errorf("run driver: %v", err)
		}
	})
	e.t.Cleanup(func() {
		e.removeAllVolumes()
		stop()
		e.restart()
	})
	return stop
}

// logged says whether the Engine has logged some words since the test began.
func (e engine) logged(words string) bool {
	e.t.Helper()
	return strings.Contains(e.log()[e.logStart:], words)
}

func (e engine) log() string {
	e.t.Helper()
	log, err := os.ReadFile(e.m.Dockerd.LogFile())
	if err != nil {
		e.t.Fatal(err)
	}
	return string(log)
}

// kill ends the Engine as a crash does.
func (e engine) kill() {
	e.t.Helper()
	if err := e.m.Dockerd.Kill(context.Background()); err != nil {
		e.t.Fatal(err)
	}
}

// boot starts the Engine again and waits until it answers.
func (e engine) boot() {
	e.t.Helper()
	if err := e.m.Dockerd.Start(context.Background()); err != nil {
		e.t.Fatal(err)
	}
}

func (e engine) restart() {
	e.t.Helper()
	e.kill()
	e.boot()
}

// fileIn says whether a container has a file.
func (e engine) fileIn(container, path string) bool {
	_, err := e.try("exec", container, "busybox", "ls", path)
	return err == nil
}
