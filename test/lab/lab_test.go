package lab_test

import (
	"os"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestMachine starts an Engine, a Swarm and containers, and asks for L1.
func TestMachine(t *testing.T) {
	ctx := t.Context()
	m := labtest.New(t, lab.Options{Ballast: "/nonexistent"})
	if err := m.Dockerd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.ImportImage(ctx, "redis", lab.Redis()); err != nil {
		t.Fatal(err)
	}
	if err := m.ImportImage(ctx, "busybox", lab.Busybox()); err != nil {
		t.Fatal(err)
	}
	if err := m.StartSwarm(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{
		{"run", "--rm", "busybox", "echo", "hello"},
		{"run", "--rm", "redis", "--version"},
		{"service", "create", "--detach", "--name", "s", "--mount", "type=volume,src=vol,dst=/data", "redis"},
		{"service", "update", "--detach", "--limit-memory", "64m", "s"},
		{"ps"},
	} {
		out, err := m.Docker(ctx, c...)
		t.Log(out)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Dockerd.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Dockerd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.Dir); !os.IsNotExist(err) {
		t.Errorf("the machine's folder is still there: %v", err)
	}
}
