package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ballast-io/ballast/test/chaos/blocks"
	"github.com/ballast-io/ballast/test/chaos/history"
	"github.com/ballast-io/ballast/test/lab"
)

// session is one user of the volume on one primary.
type session struct {
	node       *lab.Node
	epoch      uint64
	mountpoint string
	holder     string
	heard      *blocks.Heard
	cmd        *exec.Cmd
	gone       chan struct{} // closed when the user has ended and all it said was heard

	mu     sync.Mutex // guards asleep
	asleep []history.Span
}

// beginSession lets a user work on a mounted volume.
func beginSession(n *lab.Node, mountpoint string, opts blocks.Options) (*session, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &session{node: n, mountpoint: mountpoint, heard: blocks.NewHeard(), gone: make(chan struct{})}
	// It ends with the mount or with the machine, as a container would.
	s.cmd = n.Command(context.Background(), self, "use", mountpoint,
		strconv.FormatUint(uint64(opts.Incarnation), 10), strconv.FormatUint(opts.Seed, 10), strconv.FormatBool(opts.ReadOnly))
	s.cmd.Dir = "/"
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = s.cmd.Stdout // why it ended
	if err := n.Start(s.cmd); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.gone)
		s.heard.Hear(out)
		_ = s.cmd.Wait() // how it ended, it has said
	}()
	return s, nil
}

// use is the user's part of this program.
func use(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: use DIR INCARNATION SEED READONLY")
	}
	incarnation, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	return blocks.Use(os.Stdout, blocks.Options{Dir: args[0], Incarnation: uint32(incarnation), Seed: seed, ReadOnly: args[3] == "true"})
}

// awaitAcks waits for more acknowledgements than there are now.
func (s *session) awaitAcks(ctx context.Context, more int) error {
	before, _ := s.heard.Acks()
	return s.await(ctx, fmt.Sprintf("%d acknowledgements", more), func() bool {
		n, _ := s.heard.Acks()
		return n >= before+more
	})
}

// awaitReady waits until the user has read all there is.
func (s *session) awaitReady(ctx context.Context) error {
	return s.await(ctx, "all to be read", func() bool { _, ok := s.heard.Ready(); return ok })
}

func (s *session) await(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	return lab.Poll(ctx, fmt.Sprintf("%s on %s", what, s.node.Name), func(context.Context) error {
		if done() {
			return nil
		}
		if ended, why := s.heard.Ended(); ended {
			return lab.Hopeless(fmt.Errorf("wait for %s on %s: its user has ended: %s", what, s.node.Name, why))
		}
		n, _ := s.heard.Acks()
		return fmt.Errorf("%d acknowledgements so far", n)
	})
}

// awaitGone waits until the user has ended.
func (s *session) awaitGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the user on %s, of epoch %d, did not end: %w", s.node.Name, s.epoch, ctx.Err())
	}
}

// kill ends a user that nothing else ends. One that waits for a device is gone when that
// has answered it.
func (s *session) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	select {
	case <-s.gone:
	case <-time.After(goneLimit): // killed, it writes nothing more
	}
}

// asleepFrom notes that the user is stopped from now on, until the returned func is called.
func (s *session) asleepFrom() (awake func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asleep = append(s.asleep, history.Span{From: blocks.Now(), To: history.Unknown})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		// What it had to say takes a moment to be told.
		s.asleep[len(s.asleep)-1].To = blocks.Now() + int64(3*time.Second)
	}
}

func (s *session) incarnation() *history.Incarnation {
	s.mu.Lock()
	asleep := slices.Clone(s.asleep)
	s.mu.Unlock()
	return s.heard.Incarnation(s.node.Name, s.epoch, asleep)
}
