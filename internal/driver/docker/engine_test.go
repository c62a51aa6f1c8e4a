package docker

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
)

// pipeListener is a listener in memory, so that calls, time limits and lost
// connections run on the fake clock of testing/synctest.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// engine is a Docker Engine's side of the protocol.
type engine struct {
	http *http.Client
}

// newEngine runs a driver for the volumes and returns an Engine that calls it. The
// driver ends, and is waited for, at the end of the test.
func newEngine(t *testing.T, volumes Volumes, opts Options) engine {
	t.Helper()
	l := newPipeListener()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- New(volumes, opts).Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v; want nil", err)
		}
	})
	return engine{&http.Client{Transport: &http.Transport{DialContext: l.dial}}}
}

// answer is what any call may answer with.
type answer struct {
	Err          string
	Mountpoint   string
	Implements   []string
	Capabilities struct{ Scope string }
	Volume       *struct {
		Name, Mountpoint string
		Status           map[string]any
	}
	Volumes []struct{ Name, Mountpoint string }
}

// call sends a call and returns its answer; an error is a lost connection, which
// to Docker means that the driver cannot be reached.
func (e engine) call(ctx context.Context, path, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	var a answer
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// must sends a call that has to be answered without an error.
func (e engine) must(t *testing.T, path, body string) answer {
	t.Helper()
	a, err := e.call(t.Context(), path, body)
	if err != nil {
		t.Fatalf("%s %s: connection lost: %v", path, body, err)
	}
	if a.Err != "" {
		t.Fatalf("%s %s: Err = %q; want none", path, body, a.Err)
	}
	return a
}

// refused sends a call that has to be answered with an error, and returns that.
func (e engine) refused(t *testing.T, path, body string) string {
	t.Helper()
	a, err := e.call(t.Context(), path, body)
	if err != nil {
		t.Fatalf("%s %s: connection lost: %v", path, body, err)
	}
	if a.Err == "" {
		t.Fatalf("%s %s: no Err; want one", path, body)
	}
	return a.Err
}
