package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"
)

// The tests of this file are about G7: whatever hangs, Docker does not.

// TestAgentFrozen: Docker answers while the agent is stopped in its tracks, and what
// waits for the agent goes on when it does.
func TestAgentFrozen(t *testing.T) {
	e, b := newAgentEngine(t)
	e.runBusybox("-d", "--name", "app", "-v", "db:/mnt", "--volume-driver", "ballast", "busybox", "sleep", "1000")
	b.freezeAgent(t)
	waits := e.start("volume", "create", "-d", "ballast", "new")
	e.ok("ps")
	e.ok("exec", "app", "busybox", "sh", "-c", "echo kept >/mnt/key && sync")
	e.runBusybox("--rm", "-v", "mine:/mnt", "--volume-driver", "local", "busybox", "touch", "/mnt/key")
	if waits.ended() {
		t.Errorf("create ended without an agent: %s", waits.output())
	}
	b.thawAgent(t)
	if out := waits.output(); waits.err != nil {
		t.Errorf("create after the thaw: %v\n%s", waits.err, out)
	}
	if got := e.ok("exec", "app", "busybox", "cat", "/mnt/key"); got != "kept" {
		t.Errorf("read %q; want kept", got)
	}
}

// TestEngineFrozen: a stuck engine costs its own volume and nothing else.
func TestEngineFrozen(t *testing.T) {
	e, b := newAgentEngine(t)
	e.runBusybox("-d", "--name", "app", "-v", "db:/mnt", "--volume-driver", "ballast", "busybox", "sh", "-c", "echo kept >/mnt/key; sync; touch /mnt/written; sleep 1000")
	eventually(t, "the container has written", func() bool { return e.fileIn("app", "/mnt/written") })
	b.signal(t, "db", "STOP")
	t.Cleanup(func() { b.thawEngines(t) })
	e.ok("ps")
	e.ok("volume", "ls")
	e.inspect("db")
	e.runBusybox("--rm", "-v", "other:/mnt", "--volume-driver", "ballast", "busybox", "touch", "/mnt/key")
	for _, call := range []struct{ path, body string }{
		{"Get", `{"Name":"db"}`},
		{"Path", `{"Name":"db"}`},
		{"List", `{}`},
		{"Create", `{"Name":"db"}`},
		{"Mount", `{"Name":"db","ID":"second"}`},
		{"Unmount", `{"Name":"db","ID":"second"}`},
		{"Remove", `{"Name":"db"}`},
	} {
		b.answers(t, call.path, call.body)
	}
	e.ok("rm", "-f", "app") // the last Unmount
	e.ok("ps")
	b.thawEngines(t)
	if got := e.runBusybox("--rm", "-v", "db:/mnt", "busybox", "cat", "/mnt/key"); got != "kept" {
		t.Errorf("after the thaw: read %q; want kept", got)
	}
}

// dockersLimit is how long Docker waits for a call.
func dockersLimit(call string) time.Duration {
	if call == "Create" || call == "Mount" {
		return 2 * time.Minute
	}
	return time.Minute
}

// answers makes one call on the driver's socket, as Docker does, and wants an
// answer of any kind before Docker's patience is over.
func (b onAgent) answers(t *testing.T, call, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), dockersLimit(call))
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", pluginSocket(b.m, "ballast"))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/VolumeDriver."+call, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Errorf("%s: %v; want an answer", call, err)
		return
	}
	defer resp.Body.Close()
	var answer struct{ Err string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Errorf("%s: %v; want an answer", call, err)
	}
	t.Logf("%s: %q", call, answer.Err)
}

func (b onAgent) freezeAgent(t *testing.T) {
	t.Helper()
	if err := b.m.Agent.Freeze(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.thawAgent(t) })
}

func (b onAgent) thawAgent(t *testing.T) {
	t.Helper()
	if err := b.m.Agent.Thaw(); err != nil {
		t.Fatal(err)
	}
}

// thawEngines lets every process of the machine go on that was stopped.
func (b onAgent) thawEngines(t *testing.T) {
	t.Helper()
	if _, err := b.m.Output(context.Background(), "sh", "-c", "kill -s CONT -- -1"); err != nil {
		t.Fatal(err)
	}
}
