package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdAgent serves a stand-in for the agent, with the state in a JSON file, on
// the socket at BALLAST_SOCKET until the script ends: "agent state.json". What it is
// asked of the archive it writes into the file asked.
func cmdAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: agent STATE.json")
	}
	var state fakeState
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &state))
	asked, err := os.Create(ts.MkAbs("asked"))
	ts.Check(err)
	ts.Defer(func() { asked.Close() })
	serveUnix(ts, ts.Getenv("BALLAST_SOCKET"), newFakeAgent(state, asked))
}

// serveUnix serves h on a Unix socket until the script ends. The socket is bound
// through its folder, for paths that the kernel's address cannot hold.
func serveUnix(ts *testscript.TestScript, path string, h http.Handler) {
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
	os.Remove(path) // of an agent that was stopped
	dir, err := os.Open(filepath.Dir(path))
	ts.Check(err)
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
	ts.Check(err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			ts.Logf("serve %s: %v", path, err)
		}
	}()
	stop := sync.OnceFunc(func() {
		s.Close()
		<-done
		dir.Close()
	})
	ts.Defer(stop)
	ts.Value(serversKey{}).(servers)[path] = stop
}

// serversKey finds the servers of a script.
type serversKey struct{}

// servers is, in a script's environment, how to stop what serves a socket.
type servers map[string]func()

// cmdDie ends the agent and leaves its socket behind, as kill -9 does: "die".
func cmdDie(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: die")
	}
	ts.Value(serversKey{}).(servers)[ts.Getenv("BALLAST_SOCKET")]()
}

// cmdExits runs a command that must leave exactly that exit code behind, and
// keeps its output in the files out and err: "exits 3 ballast volume rm db".
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGS]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d; want %d", got, want)
	}
}
