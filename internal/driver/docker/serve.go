package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/ballast-io/ballast"
)

// askAgain is the pause between two questions while the answer is "not ready yet".
const askAgain = 100 * time.Millisecond

// outcome is what a call came to.
type outcome struct {
	resp response
	err  error
}

// serve answers one call, or drops its connection.
func (d *Driver) serve(w http.ResponseWriter, r *http.Request, op operation) {
	ctx := r.Context()
	body, err := read(w, r)
	if err != nil {
		d.refuse(ctx, w, op, request{}, err)
		return
	}
	req, err := decode(body, op.needs)
	if err != nil {
		d.refuse(ctx, w, op, req, err)
		return
	}
	out := d.within(ctx, op, req)
	if out.err != nil {
		d.refuse(ctx, w, op, req, out.err)
		return
	}
	if err := reply(w, http.StatusOK, out.resp); err != nil {
		d.log.WarnContext(ctx, "docker did not take the answer", "call", op.path, "volume", req.Name, "error", err)
		d.start(func() { d.takeBack(ctx, op, req) })
	}
}

// refuse answers with an error; or, where an error would be taken for "no such
// volume" and that is not known, with a connection that breaks (D1).
func (d *Driver) refuse(ctx context.Context, w http.ResponseWriter, op operation, req request, err error) {
	level := slog.LevelInfo
	if op.sure {
		if !op.settled(err) {
			d.log.WarnContext(ctx, "docker call dropped: nothing is known yet", "call", op.path, "volume", req.Name, "error", err)
			panic(http.ErrAbortHandler)
		}
		level = slog.LevelDebug // the Engine asks every driver for every name
	}
	d.log.Log(ctx, level, "docker call refused", "call", op.path, "volume", req.Name, "error", err)
	if err := reply(w, http.StatusOK, response{Err: err.Error()}); err != nil {
		d.log.WarnContext(ctx, "docker did not take the answer", "call", op.path, "volume", req.Name, "error", err)
	}
}

// within runs a call and returns its outcome, or an error at the end of its budget
// while the call goes on (D3). What a call achieves that nobody waited for is taken
// back when it returns (D4). The call itself is told to end a little earlier: one
// that listens knows better what it waited for.
func (d *Driver) within(ctx context.Context, op operation, req request) outcome {
	ctx, cancel := context.WithTimeout(ctx, op.budget)
	done := make(chan outcome) // unbuffered: a send that succeeds was received
	started := d.start(func() {
		defer cancel()
		out := d.early(ctx, op, req)
		select {
		case done <- out:
		case <-ctx.Done():
			if out.err == nil {
				d.takeBack(ctx, op, req)
			}
		}
	})
	if !started {
		cancel()
		return outcome{err: errEnding}
	}
	select {
	case out := <-done:
		return out
	case <-ctx.Done():
		return outcome{err: overdue(ctx, op, req)}
	}
}

func (d *Driver) early(ctx context.Context, op operation, req request) outcome {
	ctx, cancel := context.WithTimeout(ctx, op.budget-op.budget/10)
	defer cancel()
	return d.untilSettled(ctx, op, req)
}

// overdue says what a call means whose time is over.
func overdue(ctx context.Context, op operation, req request) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s %q: docker hung up before it was done", op.path, req.Name)
	}
	return fmt.Errorf("%s %q: not done within %v, so given up before Docker's own limit; the data of the volume is as it was. "+
		"\"ballast status\" says what holds it up; then try again", op.path, req.Name, op.budget)
}

// untilSettled repeats a call while its answer is "not ready yet".
func (d *Driver) untilSettled(ctx context.Context, op operation, req request) outcome {
	pause := time.NewTicker(askAgain)
	defer pause.Stop()
	for {
		out := d.guarded(ctx, op, req)
		if op.settled(out.err) {
			return out
		}
		select {
		case <-ctx.Done():
			return outcome{err: unready(out.err)}
		case <-pause.C:
		}
	}
}

func unready(err error) error {
	return fmt.Errorf("%w: this node's agent does not know its volumes yet; nothing was changed. "+
		"\"ballast status\" says what it waits for; then try again", err)
}

// errEnding is what a call gets that arrives when the agent is about to end.
var errEnding = fmt.Errorf("%w: the agent is ending; nothing was changed. Try again when it is back", ballast.ErrNotReady)

// errPanic is a bug in what the driver calls.
var errPanic = errors.New("bug in ballast: the call panicked, and the agent's log has the trace; " +
	"\"ballast volume inspect\" shows what became of the volume")

// guarded runs a call once and makes a panic in it an error (D8).
func (d *Driver) guarded(ctx context.Context, op operation, req request) (out outcome) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("docker call panicked", "call", op.path, "volume", req.Name, "panic", p, "stack", string(debug.Stack()))
			out = outcome{err: errPanic}
		}
	}()
	resp, err := op.do(ctx, req)
	return outcome{resp, err}
}

// takeBack undoes a call that succeeded without anyone having learned of it. It
// may run on, bounded, when the request is over.
func (d *Driver) takeBack(ctx context.Context, op operation, req request) {
	if op.undo == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.opts.Short)
	defer cancel()
	undo := operation{path: op.path, do: func(ctx context.Context, req request) (response, error) {
		return response{}, op.undo(ctx, req)
	}}
	if out := d.untilSettled(ctx, undo, req); out.err != nil && !errors.Is(out.err, ballast.ErrNotFound) {
		d.log.Error("docker gave up on a mount, and taking it back failed: the volume stays in use until docker is reconciled",
			"volume", req.Name, "holder", req.ID, "error", out.err)
		return
	}
	d.log.Info("took back a mount that docker gave up on", "volume", req.Name, "holder", req.ID)
}
