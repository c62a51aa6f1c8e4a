package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
)

const (
	defaultSocket = "/var/lib/ballast/agent.sock"

	// maxSocketPath is what fits in the kernel's sockaddr_un, with its zero.
	maxSocketPath = 107

	// askLimit bounds a question, doLimit a command that moves data or devices:
	// an agent that is stopped must not hang a terminal for ever.
	askLimit = 15 * time.Second
	doLimit  = 5 * time.Minute
)

// connection is the way to the local agent.
type connection struct {
	volumes ballastv1connect.VolumeServiceClient
	archive ballastv1connect.ArchiveServiceClient
	node    ballastv1connect.NodeServiceClient
}

// socketPath is where the agent listens: the option, the environment, the default.
func (c *cli) socketPath() string {
	for _, p := range []string{c.socket, c.getenv("BALLAST_SOCKET")} {
		if p != "" {
			return p
		}
	}
	return defaultSocket
}

// agent returns a client of the local agent. Nothing is sent yet.
func (c *cli) agent() *connection {
	socket := c.socketPath()
	hc := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialUnix(ctx, socket) },
	}}
	explained := connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			res, err := next(ctx, req)
			return res, explainTransport(ctx, socket, err)
		}
	}))
	return &connection{
		volumes: ballastv1connect.NewVolumeServiceClient(hc, "http://agent", explained),
		archive: ballastv1connect.NewArchiveServiceClient(hc, "http://agent", explained),
		node:    ballastv1connect.NewNodeServiceClient(hc, "http://agent", explained),
	}
}

// dialUnix connects to a Unix socket, also one whose path is longer than the
// kernel's address can hold.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	if len(path) <= maxSocketPath {
		return d.DialContext(ctx, "unix", path)
	}
	dir, err := os.OpenFile(filepath.Dir(path), os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close() // read-only: nothing to lose
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

// explainTransport says why the agent did not answer. An answer of the agent,
// also an error, passes unchanged.
func explainTransport(ctx context.Context, socket string, err error) error {
	switch {
	case err == nil, connect.IsWireError(err), errors.Is(err, context.Canceled), errors.Is(ctx.Err(), context.Canceled):
		return err
	case errors.Is(err, fs.ErrPermission):
		return &failure{exitNoAgent, fmt.Errorf("the agent's socket %s is root's", socket), `try again with "sudo"`}
	case errors.Is(err, fs.ErrNotExist):
		return &failure{exitNoAgent, fmt.Errorf("no agent runs here: there is no socket %s; volumes that are attached keep working", socket), startHint}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &failure{exitNoAgent, fmt.Errorf("the agent is down: nobody listens on %s; volumes that are attached keep working", socket), startHint}
	case errors.Is(err, context.DeadlineExceeded), connect.CodeOf(err) == connect.CodeDeadlineExceeded:
		return &failure{exitNoAgent, fmt.Errorf("the agent at %s does not answer; what was asked may still be carried out", socket),
			`look at its log: "journalctl -u ballast"`}
	}
	return &failure{exitNoAgent, fmt.Errorf("talk to the agent at %s: %s", socket, strings.TrimPrefix(err.Error(), "unavailable: ")), ""}
}

const startHint = `start it with "systemctl start ballast" (or "make up", or "ballast agent"), or say where it listens: --socket, BALLAST_SOCKET`
