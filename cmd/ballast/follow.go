package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// told is a message of a call that tells how far it is.
type told[Res any] interface {
	*Res
	GetProgress() *ballastv1.Progress
}

// follow carries out a call that tells how far it is, shows that, and hands each
// message to each, with where to print, until the call or ctx ends. again says what typing the same
// command once more does, for when it did not get to its end.
func follow[Req, Res any, M told[Res]](ctx context.Context, c *cli, again string,
	call func(context.Context, *connect.Request[Req]) (*connect.ServerStreamForClient[Res], error), req *Req, each func(m M, stdout io.Writer),
) error {
	return listen(ctx, c, again, call, req, func(m *Res, shown *progress, stdout io.Writer) {
		shown.update(M(m).GetProgress())
		each(m, stdout)
	})
}

// listen is follow for messages of any kind: each shows what they tell.
func listen[Req, Res any](ctx context.Context, c *cli, again string,
	call func(context.Context, *connect.Request[Req]) (*connect.ServerStreamForClient[Res], error), req *Req, each func(m *Res, shown *progress, stdout io.Writer),
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the agent stops what nobody listens to
	shown := c.newProgress()
	defer shown.clear()
	stream, err := call(ctx, connect.NewRequest(req))
	if err != nil {
		return explainTransport(ctx, c.socketPath(), err)
	}
	defer stream.Close() // what mattered was received
	heard := false
	for stream.Receive() {
		heard = true
		each(stream.Msg(), shown, aboveBar{shown, c.stdout})
	}
	return c.explainEnd(ctx, stream.Err(), heard, shown, again)
}

// explainEnd says why a call ended, and what to do about it.
func (c *cli) explainEnd(ctx context.Context, err error, heard bool, shown *progress, again string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return &failure{exitInterrupted, fmt.Errorf("interrupted%s", shown.whereItWas()), again}
	case heard && !connect.IsWireError(err):
		return &failure{exitNoAgent, fmt.Errorf("the agent went away%s", shown.whereItWas()), again}
	}
	return explainTransport(ctx, c.socketPath(), err)
}

// errUnsaid is a call that ended without its last word.
var errUnsaid = &failure{exitFailed, errors.New("the agent ended without saying how it went"), `look at its log: "journalctl -u ballast"`}
