package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
)

// exitCode is what the process leaves behind for scripts.
type exitCode int

// The exit codes are part of the command line's contract: they are documented
// by [exitCodes], and a number never changes its meaning.
const (
	exitOK          exitCode = 0
	exitFailed      exitCode = 1
	exitUsage       exitCode = 2
	exitNotFound    exitCode = 3
	exitRefused     exitCode = 4
	exitNoAgent     exitCode = 5
	exitFound       exitCode = 6
	exitInterrupted exitCode = 130
)

// exitCodes returns the meaning of every exit code, in order.
func exitCodes() []struct {
	code    exitCode
	meaning string
} {
	return []struct {
		code    exitCode
		meaning string
	}{
		{exitOK, "done"},
		{exitFailed, "failed; for doctor: this machine cannot run Ballast"},
		{exitUsage, "the command, an option or a value is wrong; nothing was changed"},
		{exitNotFound, "no such volume, node, snapshot or key; nothing was changed"},
		{exitRefused, "refused, because it is in use or exists already; nothing was changed"},
		{exitNoAgent, "the agent cannot be reached or is not ready yet; trying again may help"},
		{exitFound, "it worked and found something: damage (check, verify), state at risk (audit)"},
		{exitInterrupted, "interrupted (Ctrl-C)"},
	}
}

// failure is an error that knows how it is told to a person.
type failure struct {
	code exitCode
	err  error
	hint string // what to type next, a phrase or lines; empty when the error says it
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usagef is the user's mistake: the command line is wrong.
func usagef(format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// errFound ends a command that has already told what it found.
var errFound = &failure{code: exitFound}

// errUnfit ends a command that has already told why the answer is no.
var errUnfit = &failure{code: exitFailed}

// report writes err for a person and returns the number for a script.
func report(ctx context.Context, w io.Writer, err error) int {
	if err == nil {
		return int(exitOK)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "ballast: interrupted")
		return int(exitInterrupted)
	}
	f := explain(err)
	if f.err != nil {
		fmt.Fprintf(w, "ballast: %s\n", strings.TrimRight(f.err.Error(), "\n"))
	}
	for line := range strings.Lines(f.hint) {
		fmt.Fprintf(w, "ballast: %s\n", strings.TrimRight(line, "\n"))
	}
	return int(f.code)
}

// explain finds the code and the hint that belong to err.
func explain(err error) *failure {
	if known, ok := errors.AsType[*failure](err); ok {
		return &failure{code: known.code, err: outermost(err, known), hint: known.hint}
	}
	if wire, ok := errors.AsType[*connect.Error](err); ok {
		return &failure{code: wireCode(wire.Code()), err: errors.New(sentence(wire.Message())), hint: wireHint(wire.Code())}
	}
	return &failure{code: exitFailed, err: err}
}

// sentence drops the name of the kind of error from the end of what the agent
// says: the exit code stands for it.
func sentence(message string) string {
	for _, kind := range []error{ballast.ErrNotFound, ballast.ErrNotReady, ballast.ErrExists, ballast.ErrInUse, ballast.ErrInvalid} {
		message = strings.TrimSuffix(message, ": "+kind.Error())
	}
	return message
}

// outermost keeps what was wrapped around known, and nothing where known stands
// for a report that is already on the screen.
func outermost(err error, known *failure) error {
	if known.err == nil {
		return nil
	}
	return err
}

// wireCode is the exit code for an answer of the agent.
func wireCode(code connect.Code) exitCode {
	switch code {
	case connect.CodeNotFound:
		return exitNotFound
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return exitUsage
	case connect.CodeAlreadyExists, connect.CodeFailedPrecondition, connect.CodeAborted, connect.CodePermissionDenied:
		return exitRefused
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded:
		return exitNoAgent
	case connect.CodeCanceled:
		return exitInterrupted
	case connect.CodeUnknown, connect.CodeResourceExhausted, connect.CodeUnimplemented,
		connect.CodeInternal, connect.CodeDataLoss, connect.CodeUnauthenticated:
		return exitFailed
	}
	return exitFailed
}

// wireHint is what to type next after an answer that does not say it itself.
func wireHint(code connect.Code) string {
	if code == connect.CodeUnimplemented {
		return `the agent is older than this command: compare "ballast version" with "ballast status"`
	}
	if code == connect.CodeUnavailable {
		return `try again in a moment; "ballast status" says what the agent waits for`
	}
	return ""
}
