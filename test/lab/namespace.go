package lab

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:embed machine.sh
var machineScript string

// namespaces are the mounts, network and processes of a machine, or of the network between
// machines, kept by a script.
type namespaces struct {
	keeper *exec.Cmd
	leash  io.WriteCloser // closing it ends the keeper, and everything inside
	said   *strings.Builder
	pid    int // of a process in the mount and network namespaces, as the host counts
}

// openNamespaces makes namespaces as the script says, which prints "ready".
func openNamespaces(script string, args ...string) (_ *namespaces, err error) {
	n := &namespaces{said: &strings.Builder{}}
	n.keeper = exec.Command("sh", append([]string{"-c", script, "keeper"}, args...)...)
	n.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // outlives us, to clean up
	n.keeper.Stderr = n.said
	leash, err := n.keeper.StdinPipe()
	if err != nil {
		return nil, err
	}
	n.leash = leash
	out, err := n.keeper.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.keeper.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	return n, n.awaitReady(bufio.NewScanner(out))
}

func (n *namespaces) awaitReady(lines *bufio.Scanner) error {
	for lines.Scan() {
		if lines.Text() == "ready" {
			return nil
		}
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			return fmt.Errorf("the script that keeps the namespaces said %q", lines.Text())
		}
		n.pid = pid
	}
	return errors.Join(errors.New("the script that keeps the namespaces ended before they were ready"), lines.Err())
}

// close takes all apart, the folder as well, and waits until that is done.
func (n *namespaces) close() error {
	err := n.leash.Close()
	if werr := n.keeper.Wait(); werr != nil {
		err = errors.Join(err, fmt.Errorf("take the namespaces apart: %w: %s", werr, strings.TrimSpace(n.said.String())))
	}
	return err
}

// closeAndKeep is close, but for the folder.
func (n *namespaces) closeAndKeep() error {
	_, err := io.WriteString(n.leash, "keep\n")
	return errors.Join(err, n.close())
}

// start starts cmd inside the namespaces. The process is a child of this
// program and has the id that the host knows it by.
func (n *namespaces) start(cmd *exec.Cmd) error { return n.within(cmd.Start) }

// listen opens a socket of the machine's network, for this program to serve.
func (n *namespaces) listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	var config net.ListenConfig
	err = n.within(func() (err error) {
		l, err = config.Listen(ctx, network, address)
		return err
	})
	return l, err
}

// within calls do on a thread that is inside the namespaces.
func (n *namespaces) within(do func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// /proc/self shows what the main thread sees: leave it alone, and
			// hold it so that the next goroutine gets another.
			defer runtime.UnlockOSThread()
			result <- n.within(do)
			return
		}
		// Never unlocked: the runtime ends the thread with the goroutine, so the
		// machine's namespaces do not leak into the rest of this program.
		err := n.enter()
		if err == nil {
			err = do()
		}
		result <- err
	}()
	return <-result
}

// enter moves the calling thread into the namespaces, and its future children.
func (n *namespaces) enter() error {
	// Threads share their root and working folder; a mount namespace cannot be
	// entered while that is so.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("separate thread: %w", err)
	}
	for _, ns := range []struct {
		file string
		kind int
	}{
		{"pid_for_children", unix.CLONE_NEWPID},
		{"net", unix.CLONE_NEWNET},
		{"mnt", unix.CLONE_NEWNS}, // last: the paths above are the host's
	} {
		if err := enterNamespace(fmt.Sprintf("/proc/%d/ns/%s", n.pid, ns.file), ns.kind); err != nil {
			return err
		}
	}
	return nil
}

func enterNamespace(file string, kind int) error {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	defer unix.Close(fd) // read-only: nothing to lose
	if err := unix.Setns(fd, kind); err != nil {
		return fmt.Errorf("enter %s: %w", file, err)
	}
	return nil
}
