package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// machine is a booted user-mode Linux.
type machine struct {
	cmd   *exec.Cmd
	lines chan string // whole lines of its console, closed at its end

	mu   sync.Mutex // guards last
	last []string
}

// boot starts a machine with the disk that is served in the folder disk: this program is its process 1, and
// the files of this machine, read-only, are its root.
func boot(dir, disk, workload string) (*machine, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &machine{lines: make(chan string)}
	m.cmd = exec.Command(kernel,
		"mem=320M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
		"con=null", "con0=fd:0,fd:1", "quiet", "loglevel=5",
		"umid=m", "uml_dir="+filepath.Join(dir, "uml")+"/",
		"init="+self, "--", "guest", disk, workload)
	// A group of its own, so that one signal reaches all its processes; and an end
	// with us, whatever ends us (P4).
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	console, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("boot machine: %w", err)
	}
	go m.read(bufio.NewReader(console))
	return m, nil
}

// read ends with the machine. A line that it did not end does not count.
func (m *machine) read(console *bufio.Reader) {
	defer close(m.lines)
	for {
		line, err := console.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		m.note(line)
		m.lines <- line
	}
}

// cut takes the power away. The lines it said before can still be read.
func (m *machine) cut() {
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
}

// bury waits for the machine that was cut, once all its lines were read. Its other
// processes have become our children, see [run].
func (m *machine) bury() {
	_ = m.cmd.Wait() // killed, and that is no news
	for {
		_, err := unix.Wait4(-m.cmd.Process.Pid, nil, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // ECHILD: there are no more
		}
	}
}

func (m *machine) note(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = append(m.last, line)
	if len(m.last) > 40 {
		m.last = m.last[1:]
	}
}

// tail is the end of its console.
func (m *machine) tail() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.last, "\n")
}
