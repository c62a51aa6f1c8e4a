package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serveFake serves a stand-in for the agent until the test ends, and returns its
// socket.
func serveFake(t *testing.T, state string) string {
	t.Helper()
	var s fakeState
	if err := json.Unmarshal([]byte(state), &s); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // its path is longer than a socket's address can be
	l, err := net.Listen("unix", "agent.sock")
	if err != nil {
		t.Fatal(err)
	}
	server, done := &http.Server{Handler: newFakeAgent(s, io.Discard)}, make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with the test
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return l.Addr().String()
}

// TestInterrupted types Ctrl-C in the middle of each call that tells how far it is:
// it ends at once, says what was done, and what typing it again does.
func TestInterrupted(t *testing.T) {
	const progress = `{"progress": {"step": "at work", "doneBytes": "1048576", "totalBytes": "4194304"}}`
	for _, tt := range []struct {
		call string
		args []string
		says string
	}{
		{"Snapshot", []string{"volume", "snapshot", "db"}, "sends only what is not in the archive yet"},
		{"Verify", []string{"verify"}, "is removed"},
		{"Recover", []string{"recover"}, "goes on with the rest"},
		{"CheckArchive", []string{"archive", "check"}, "nothing was changed"},
		{"Prune", []string{"archive", "prune", "--apply"}, "the archive is whole"},
	} {
		t.Run(tt.call, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			socket := serveFake(t, `{"answers": {"ArchiveStatus": [{}], "`+tt.call+`": [`+progress+`]}, "refuses": {"`+tt.call+`": {"code": "stalled"}}}`)
			var stdout, stderr bytes.Buffer
			out := here()
			out.stdout, out.stderr = &stdout, interruptAt{&stderr, "at work", interrupt}
			out.columns = func() int { return 80 }
			now := &clock{testNow}
			out.now = func() time.Time { // a second between two looks, so that the bar is drawn at once
				now.at = now.at.Add(time.Second)
				return now.at
			}
			code := run(ctx, append([]string{"--socket", socket}, tt.args...), out)
			for _, want := range []string{`ballast: interrupted at "at work", 1 MiB of 4 MiB done`, tt.says} {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("stderr %q; want it to say %q", stderr.String(), want)
				}
			}
			if code != int(exitInterrupted) || stdout.Len() > 0 {
				t.Errorf("exit code %d, stdout %q; want %d and nothing", code, stdout.String(), exitInterrupted)
			}
		})
	}
}

// interruptAt interrupts once a word was written.
type interruptAt struct {
	w         io.Writer
	word      string
	interrupt func()
}

func (i interruptAt) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(i.word)) {
		i.interrupt()
	}
	return i.w.Write(p)
}
