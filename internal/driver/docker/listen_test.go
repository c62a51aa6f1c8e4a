package docker

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugins", "ballast.sock")
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("permissions = %o; want 600", got)
	}
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("second Listen = %v; want that it is served already", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after Close the socket is still there: %v", err)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ballast.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as by kill -9
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatalf("Listen = %v; want the stale socket replaced", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestListenLeavesOthersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ballast.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path); err == nil {
		t.Error("Listen succeeded over a file")
	}
	if got, err := os.ReadFile(path); string(got) != "precious" {
		t.Errorf("the file holds %q, %v; want it untouched", got, err)
	}
}

// TestPassed: systemd keeps the socket, so that it is there before Docker starts
// and while the agent is away.
func TestPassed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ballast.sock")
	systemd, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	file, err := systemd.File()
	if err != nil {
		t.Fatal(err)
	}
	fd := int(file.Fd()) // the agent's from here on
	if l, err := passed(path+".other", 1, fd); l != nil || err != nil {
		t.Fatalf("passed = %v, %v; want nothing: it listens elsewhere", l, err)
	}
	other := filepath.Join(t.TempDir(), "by-another-name.sock")
	if err := os.Symlink(path, other); err != nil {
		t.Fatal(err)
	}
	l, err := passed(other, 1, fd)
	if l == nil || err != nil {
		t.Fatalf("passed = %v, %v; want the listener", l, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("systemd's socket went with the agent: %v", err)
	}
}

func TestPassedCount(t *testing.T) {
	for _, tt := range []struct {
		name, pid, fds string
		want           int
	}{
		{"not by systemd", "", "", 0},
		{"one for us", "42", "1", 1},
		{"for our parent", "41", "1", 0},
		{"nonsense", "42", "x", 0},
		{"negative", "42", "-1", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{"LISTEN_PID": tt.pid, "LISTEN_FDS": tt.fds}
			if got := passedCount(42, func(key string) string { return env[key] }); got != tt.want {
				t.Errorf("passedCount = %d; want %d", got, tt.want)
			}
		})
	}
}
