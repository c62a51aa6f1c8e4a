// Package labtest gives a test its lab machine: built from this source, taken
// apart when the test ends however it ends, its logs shown when the test failed.
package labtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
)

// New returns a machine in which nothing runs yet. The test is left out, and
// says why, where the host cannot have one.
func New(t testing.TB, opts lab.Options) *lab.Machine {
	t.Helper()
	Require(t)
	if opts.Ballast == "" {
		opts.Ballast = Binary(t)
	}
	//nolint:usetesting // t.TempDir has long names, which do not fit into the address of a socket
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		t.Fatal(err)
	}
	m, err := lab.New(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		showLogs(t, m)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Start returns a machine with a running agent and Engine, and the image
// "busybox".
func Start(t testing.TB, opts lab.Options) *lab.Machine {
	t.Helper()
	m := New(t, opts)
	for _, start := range []func(context.Context) error{
		m.Agent.Start,
		m.Dockerd.Start,
		func(ctx context.Context) error { return m.ImportImage(ctx, "busybox", lab.Busybox()) },
	} {
		if err := start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func showLogs(t testing.TB, m *lab.Machine) {
	if !t.Failed() {
		return
	}
	for _, log := range m.Logs() {
		t.Log(log)
	}
}

// Require leaves the test out, and says why, where a machine cannot run.
func Require(t testing.TB) {
	t.Helper()
	if missing := lab.Missing(); len(missing) > 0 {
		t.Skipf("left out: a lab machine needs %s", strings.Join(missing, ", "))
	}
}

// Binary is bin/ballast, built from the source as it is now, or the file that
// the environment names in BALLAST_BINARY.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("BALLAST_BINARY"); path != "" {
		return path, nil
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "ballast")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/ballast")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", path, err, out)
	}
	return path, nil
})
