package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketName is where the agent's API is, below the data folder.
const socketName = "agent.sock"

// listenRoot listens on a Unix socket in dir that only root can speak to. The
// caller has dir to itself, so a socket that is there is left over. The path may
// be longer than a socket address holds.
func listenRoot(ctx context.Context, dir, name string) (_ net.Listener, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("listen on %s/%s: %w", dir, name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("listen on %s/%s: %w", dir, name, err), d.Close())
		}
	}()
	path := fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	config := net.ListenConfig{Control: private}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return &rootListener{Listener: l, dir: d}, nil
}

// private gives a socket its permissions before it has a name.
func private(_, _ string, conn syscall.RawConn) (err error) {
	return errors.Join(conn.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
}

// rootListener accepts only processes of root and of the agent's own user (G10).
type rootListener struct {
	net.Listener
	dir *os.File // its descriptor is in the socket's path
}

// Accept implements [net.Listener].
func (l *rootListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(conn); err == nil && (uid == 0 || int(uid) == os.Geteuid()) {
			return conn, nil
		}
		_ = conn.Close() // nothing was read or written
	}
}

// Close implements [net.Listener].
func (l *rootListener) Close() error { return errors.Join(l.Listener.Close(), l.dir.Close()) }

func peerUID(conn net.Conn) (uint32, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("no socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, failed); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
