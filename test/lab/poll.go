package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// patience is how long [Poll] waits where its context sets no limit. It only
// bounds a failure: two busy cores make a good start slow.
const patience = 90 * time.Second

// Poll asks again and again until the answer is nil, and then returns nil.
// It gives up when ctx ends, after 90 seconds when ctx has no deadline, or when
// the answer is [Hopeless]. what completes the sentence "wait for …".
func Poll(ctx context.Context, what string, ask func(context.Context) error) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	again := time.NewTicker(25 * time.Millisecond)
	defer again.Stop()
	var last error
	for {
		err := ask(ctx)
		var over *hopeless
		if err == nil || errors.As(err, &over) {
			return err
		}
		if last == nil || ctx.Err() == nil { // an answer that was broken off says less than the one before
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last answer: %w", what, ctx.Err(), last)
		case <-again.C:
		}
	}
}

// Hopeless marks an answer that asking again cannot change.
func Hopeless(err error) error { return &hopeless{err} }

type hopeless struct{ err error }

func (h *hopeless) Error() string { return h.err.Error() }
func (h *hopeless) Unwrap() error { return h.err }
