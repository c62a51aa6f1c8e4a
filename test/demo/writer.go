package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// writer appends numbers to a list in Redis, one after the other, each only
// after the one before was acknowledged.
type writer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stop   chan struct{}
	ended  chan struct{}
	failed error // set when ended is closed

	mu      sync.Mutex // guards the following
	acked   int
	longest time.Duration // between two acknowledgements
}

// startWriter starts a writer of the list key in the service's container. The
// caller calls finish.
func startWriter(ctx context.Context, s service, key string) (*writer, error) {
	id, err := s.container(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{stop: make(chan struct{}), ended: make(chan struct{})}
	w.cmd = s.machine.Command(ctx, "docker", "exec", "--interactive", id, "redis-cli", "--raw")
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewReader(out)
	if err := s.machine.Start(w.cmd); err != nil {
		return nil, err
	}
	go w.write(key)
	return w, nil
}

func (w *writer) write(key string) {
	defer close(w.ended)
	last := time.Now()
	for n := 1; ; n++ {
		select {
		case <-w.stop:
			return
		default:
		}
		if w.failed = w.append(key, n); w.failed != nil {
			return
		}
		now := time.Now()
		w.mu.Lock()
		w.acked, w.longest = n, max(w.longest, now.Sub(last))
		w.mu.Unlock()
		last = now
	}
}

// append returns nil once Redis has acknowledged, which it does when the write
// is durable.
func (w *writer) append(key string, n int) error {
	if _, err := fmt.Fprintf(w.in, "rpush %s %d\n", key, n); err != nil {
		return err
	}
	reply, err := w.out.ReadString('\n')
	if err != nil {
		return err
	}
	if reply = strings.TrimSpace(reply); reply != fmt.Sprint(n) {
		return fmt.Errorf("write %d: redis says %q", n, reply)
	}
	return nil
}

// progress returns how many writes were acknowledged so far, and the longest
// time between two of them.
func (w *writer) progress() (acked int, longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked, w.longest
}

// finish stops writing and returns once the last write is answered.
func (w *writer) finish() error {
	close(w.stop)
	<-w.ended
	_ = w.in.Close() // the end of its input ends redis-cli
	_ = w.cmd.Wait() // its answers are what counts
	return w.failed
}
