package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

// killAgent kills Ballast's agent while Redis writes, lets Redis write on
// without it, and starts it again.
func (s *story) killAgent(ctx context.Context) error {
	s.chapter("Ballast itself dies in mid-write")
	w, err := startWriter(ctx, s.redis, "log")
	if err != nil {
		return err
	}
	err = s.agentDies(ctx, w)
	if err = errors.Join(err, w.finish()); err != nil {
		return fmt.Errorf("kill the agent in mid-write: %w", err)
	}
	acked, longest := w.progress()
	kept, err := s.checkList(ctx, acked)
	if err != nil {
		return err
	}
	if err := s.readBack(ctx); err != nil {
		return err
	}
	s.blows = append(s.blows, blow{
		"kill -9 of the agent, in mid-write",
		fmt.Sprintf("%s=%s, %d of %d acknowledged writes", key, value, kept, acked),
		fmt.Sprintf("never (longest write %d ms)", longest.Milliseconds()),
	})
	return nil
}

func (s *story) agentDies(ctx context.Context, w *writer) error {
	const some = 200 // writes, to be in the middle of it
	if err := w.awaitMore(ctx, some); err != nil {
		return err
	}
	before, _ := w.progress()
	s.command("kill -9", strconv.Itoa(s.machine.Agent.PID()), " # ballast agent, while Redis writes")
	if err := s.machine.Agent.Kill(ctx); err != nil {
		return err
	}
	if err := w.awaitMore(ctx, some); err != nil {
		return err
	}
	without, _ := w.progress()
	s.result("%d writes were acknowledged before; %d more without the agent: the engine goes on", before, without-before)
	s.command("ballast agent")
	began := time.Now()
	if err := s.machine.Agent.Start(ctx); err != nil {
		return err
	}
	s.result("it is back after %s and has taken the volume over", seconds(time.Since(began)))
	return w.awaitMore(ctx, some)
}

// awaitMore waits until n more writes are acknowledged.
func (w *writer) awaitMore(ctx context.Context, n int) error {
	start, _ := w.progress()
	return lab.Poll(ctx, fmt.Sprintf("%d more writes", n), func(context.Context) error {
		select {
		case <-w.ended:
			return lab.Hopeless(fmt.Errorf("the writer ended: %w", w.failed))
		default:
		}
		if acked, _ := w.progress(); acked < start+n {
			return fmt.Errorf("%d were acknowledged", acked-start)
		}
		return nil
	})
}

// checkList returns how many of the acknowledged writes are in the list; fewer
// than all is an error.
func (s *story) checkList(ctx context.Context, acked int) (int, error) {
	s.command("redis-cli llen log")
	got, err := s.redis.redis(ctx, "llen", "log")
	if err != nil {
		return 0, err
	}
	s.result("%s", got)
	kept, err := strconv.Atoi(got)
	if err == nil && kept < acked {
		err = fmt.Errorf("%d writes were acknowledged, %d are there", acked, kept)
	}
	return kept, err
}

// afterwards shows that the new agent is a whole one: it hands the volume to
// the next container, and gives everything back.
func (s *story) afterwards(ctx context.Context) error {
	s.chapter("The new agent hands the volume on")
	acked, err := s.redis.redis(ctx, "llen", "log")
	if err != nil {
		return err
	}
	if err := s.replaced(ctx, "docker rm -f under the new agent", s.remove); err != nil {
		return err
	}
	want, err := strconv.Atoi(acked)
	if err != nil {
		return err
	}
	_, err = s.checkList(ctx, want)
	return err
}
