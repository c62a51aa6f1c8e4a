package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// firstPassed is the first descriptor that systemd passes to a service.
const firstPassed = 3

// Listen returns the listener for the driver's socket: the one that systemd has
// opened at this path, where there is one, else a new one that only root can
// connect to. A socket that nobody listens on any more is replaced; one that
// somebody does, and anything that is no socket, is left alone and is an error.
// A new socket is removed when the listener is closed, systemd's is not. Docker
// must be able to connect, so the path is limited to 107 bytes.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	l, err := passed(path, passedCount(os.Getpid(), os.Getenv), firstPassed)
	if l != nil || err != nil {
		return l, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder of docker plugin socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: rootOnly}
	l, err = config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on docker plugin socket: %w", err)
	}
	return l, nil
}

// rootOnly gives the socket its permissions before it has a name, so that there
// is no moment at which others could connect.
func rootOnly(_, _ string, conn syscall.RawConn) error {
	var err error
	if cerr := conn.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); cerr != nil {
		return cerr
	}
	return err
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at docker plugin socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("docker plugin socket %s: something that is no socket is there; move it away, or choose another with --plugin-socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close() // nothing was sent
		return fmt.Errorf("docker plugin socket %s: another process serves it; stop it, or choose another with --plugin-socket", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("docker plugin socket %s: cannot tell whether somebody serves it: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale docker plugin socket: %w", err)
	}
	return nil
}

// passedCount returns how many descriptors systemd has passed to this process. The
// variables may also be an ancestor's, and are then for that one.
func passedCount(pid int, getenv func(string) string) int {
	if getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return 0
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// samePlace says whether two paths lead to one file; /var/run is often /run.
func samePlace(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// passed returns a listener for that of n passed descriptors which listens at path,
// or nil when none does. The others are left alone.
func passed(path string, n, first int) (net.Listener, error) {
	for fd := first; fd < first+n; fd++ {
		addr, err := syscall.Getsockname(fd)
		unix, ok := addr.(*syscall.SockaddrUnix)
		if err != nil || !ok || !samePlace(unix.Name, path) {
			continue
		}
		syscall.CloseOnExec(fd) // engines must not inherit it
		file := os.NewFile(uintptr(fd), path)
		l, err := net.FileListener(file) // has a descriptor of its own
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("take over docker plugin socket from systemd: %w", err)
		}
		return l, nil
	}
	return nil, nil
}
