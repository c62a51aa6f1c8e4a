package engine

import (
	"context"
	"net"
	"os"
	"testing"
)

// A connection that is tried for a request is tried further when the request is over, and the client
// is closed by then: what it reaches is its own engine or nothing. The race detector is the judge.
func TestClosedWhileConnecting(t *testing.T) {
	dir := t.TempDir()
	open := func() *os.File {
		folder, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return folder
	}
	ours := open()
	defer ours.Close()
	l, err := net.Listen("unix", socketPath(ours))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		process, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(dir, open(), process)
		requests := make(chan struct{})
		go func() { // ends at once, or with its context
			defer close(requests)
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			_, _ = c.Status(ctx) // nobody answers
		}()
		if _, err := c.Status(over); err == nil {
			t.Fatal("nobody answers, and there is an answer")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-requests
		if _, err := connect(t.Context(), c.folder); err == nil {
			t.Fatal("connected through a closed folder")
		}
	}
}
