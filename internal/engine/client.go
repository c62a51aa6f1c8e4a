package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that no engine serves a volume.
var ErrNotRunning = errors.New("no engine is running")

// ErrUnsettled says that an engine ended without the word of the volume's other copies on its last
// records, which nobody was told are durable (N10).
var ErrUnsettled = errors.New("the last records are not confirmed")

// Client talks to one engine process, and to no later one.
type Client struct {
	dir     string
	folder  *os.File
	process *os.Process
	http    *http.Client
}

// Dial finds the engine of a volume's folder. It asks the kernel, not the engine,
// so it does not wait for one that is stopped. It wraps [ErrNotRunning] when there is none.
// The caller must Close the result.
func Dial(dir string) (_ *Client, err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("dial engine in %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, folder.Close())
		}
	}()
	pid, err := listener(folder)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		err = ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("dial engine in %s: %w", dir, err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("dial engine in %s: %w", dir, err)
	}
	return newClient(dir, folder, process), nil
}

func newClient(dir string, folder *os.File, process *os.Process) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, folder) }
	return &Client{
		dir: dir, folder: folder, process: process,
		http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
	}
}

// connect reaches the socket in folder, which stays open until it did, also when it is closed
// meanwhile: a connection is tried for as long as it takes, while who asked for it went away, and
// the descriptor of a closed folder may be another folder's by then.
func connect(ctx context.Context, folder *os.File) (conn net.Conn, err error) {
	raw, err := folder.SyscallConn()
	if err != nil {
		return nil, err
	}
	held := raw.Control(func(fd uintptr) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", pathThrough(fd))
	})
	return conn, errors.Join(held, err)
}

// listener returns the process that listens on the socket in folder.
func listener(folder *os.File) (pid int, err error) {
	conn, err := net.Dial("unix", socketPath(folder))
	if err != nil {
		return 0, err
	}
	defer conn.Close() // nothing was said
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	control := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(control, err); err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}

// Close forgets the engine, which runs on.
func (c *Client) Close() error { return errors.Join(c.process.Release(), c.folder.Close()) }

// Status asks the engine for its state. It wraps [ErrNotRunning] when it has ended.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var st Status
	if err := c.call(ctx, http.MethodGet, "/status", nil, &st); err != nil {
		return Status{}, fmt.Errorf("ask engine in %s: %w", c.dir, err)
	}
	return st, nil
}

// Resize makes the volume larger; size is in bytes. The device and the filesystem
// on it keep theirs until they are grown too.
func (c *Client) Resize(ctx context.Context, size int64) error {
	if err := c.call(ctx, http.MethodPost, "/resize", resizeRequest{size}, nil); err != nil {
		return fmt.Errorf("resize volume in %s: %w", c.dir, err)
	}
	return nil
}

// Stop ends the engine when everything is on disk, and returns when it is gone. It wraps
// [ballast.ErrInUse] when a loop device stands on its file: the engine then serves
// on. An engine that has ended already is no error. One that could not wait any longer for the
// volume's other copies is gone as well, and the error wraps [ErrUnsettled].
func (c *Client) Stop(ctx context.Context) error {
	err := c.call(ctx, http.MethodPost, "/stop", nil, nil)
	if err != nil && !errors.Is(err, ErrNotRunning) && !errors.Is(err, ErrUnsettled) {
		return fmt.Errorf("stop engine in %s: %w", c.dir, err)
	}
	if errors.Is(err, ErrNotRunning) {
		err = nil
	}
	if err := errors.Join(err, c.Wait(ctx)); err != nil {
		return fmt.Errorf("stop engine in %s: %w", c.dir, err)
	}
	return nil
}

// Kill ends the engine at once, as a crash would: what was not flushed is lost.
// One that has ended is no error. The caller sweeps what it leaves.
func (c *Client) Kill() error {
	if err := c.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill engine in %s: %w", c.dir, err)
	}
	return nil
}

// Wait returns nil when the process has ended, and ctx's error when that comes first.
func (c *Client) Wait(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !c.gone() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of process %d: %w", c.process.Pid, ctx.Err())
		}
	}
	return nil
}

// gone says whether the process has ended, and lets go of what the kernel keeps of a
// child that has.
func (c *Client) gone() bool {
	ended := true
	err := c.process.WithHandle(func(handle uintptr) {
		fds := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		ended = err == nil && n > 0
	})
	if err != nil { // ended before we could take hold of it
		ended = true
	}
	if ended {
		_, _ = unix.Wait4(c.process.Pid, nil, unix.WNOHANG, nil) // ECHILD: it is not our child
	}
	return ended
}

// call makes one request and reads the answer into result.
func (c *Client) call(ctx context.Context, method, path string, body, result any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // was only read
	if resp.StatusCode != http.StatusOK {
		return rejected(resp)
	}
	if result == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(result)
}

// do makes one request. It wraps [ErrNotRunning] when nobody answers any more. The
// caller must close the answer's body.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, &content)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil && ctx.Err() == nil && c.gone() {
		err = errors.Join(ErrNotRunning, err)
	}
	return resp, err
}

// rejected turns an answer back into the error that it was.
func rejected(resp *http.Response) error {
	var f failure
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReason)).Decode(&f); err != nil {
		return fmt.Errorf("engine answered %s", resp.Status)
	}
	for _, s := range statusOf {
		if resp.StatusCode == s.code {
			return remote{f.Error, s.err}
		}
	}
	return remote{f.Error, nil}
}

// remote is an error of the engine, in its words.
type remote struct {
	text     string
	sentinel error
}

func (r remote) Error() string { return r.text }
func (r remote) Unwrap() error { return r.sentinel }
