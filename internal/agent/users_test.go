package agent

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Who has something of a mount open is killed, and nobody else.
func TestEndUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a filesystem")
	}
	dir := filepath.Join(t.TempDir(), "a b")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }() // nothing else can be done
	inside, outside := exec.Command("sleep", "1000"), exec.Command("sleep", "1000")
	inside.Dir = dir
	for _, cmd := range []*exec.Cmd{inside, outside} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }() // it may be gone
	}
	ended, err := processUsers{}.EndUsers(t.Context(), dir)
	if err != nil || len(ended) != 1 {
		t.Errorf("ended %v, %v; want the one inside", ended, err)
	}
	var exit *exec.ExitError
	if err := inside.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the one inside ended with %v", err)
	}
	if err := outside.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the one outside is gone: %v", err)
	}
	if ended, err := (processUsers{}).EndUsers(t.Context(), filepath.Join(dir, "none")); err != nil || len(ended) > 0 {
		t.Errorf("ended %v, %v where nothing is mounted", ended, err)
	}
}
