// Package freeze stops a process and is sure of it: SIGSTOP only asks, and the
// last thread may still answer somebody before it stands.
package freeze

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds how long a thread may take to stop.
const patience = 30 * time.Second

// Process stops every thread of a process, until SIGCONT or SIGKILL.
func Process(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatalf("stop process %d: %v", pid, err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // looks at what is, again and again
		stopped, err := isStopped(pid)
		switch {
		case err != nil:
			t.Fatalf("stop process %d: %v", pid, err)
		case stopped:
			return
		case time.Now().After(deadline):
			t.Fatalf("process %d does not stop", pid)
		}
	}
}

// isStopped looks at the state of each thread: proc(5), field 3 of stat.
func isStopped(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			return false, err
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if !strings.HasPrefix(rest, "T") {
			return false, nil
		}
	}
	return len(threads) > 0, nil
}
