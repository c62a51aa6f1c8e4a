// Command demo shows on real Docker what Ballast is for: a Redis in a one-node
// Swarm keeps its data whatever is done to its container, its process and to
// Ballast itself. It ends with a table, and with 0 only when all survived.
//
// Everything runs on a lab machine (see package lab): nothing that is installed
// or running on the host is touched, and nothing is left behind, also after
// Ctrl-C.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// The second Ctrl-C ends the program at once. The lab cleans up even then.
	context.AfterFunc(ctx, stop)
	os.Exit(demo(ctx, os.Stdout))
}

const (
	exitSurvived    = 0
	exitFailed      = 1
	exitInterrupted = 130
)

func demo(ctx context.Context, w io.Writer) int {
	began := time.Now()
	n := &narrator{w: w}
	err := onMachine(ctx, n, tell)
	switch {
	case ctx.Err() != nil:
		n.say("\nInterrupted. Everything the demo made is gone again.")
		return exitInterrupted
	case err != nil:
		n.say("\nThe demo failed: %v", err)
		return exitFailed
	}
	n.say("All of it survived. The demo took %.0f s and left nothing behind.", time.Since(began).Seconds())
	n.say("For real use: make up")
	return exitSurvived
}

// onMachine makes a machine for f and takes it apart again, come what may.
func onMachine(ctx context.Context, n *narrator, f func(context.Context, *narrator, *lab.Machine) error) (err error) {
	if missing := lab.Missing(); len(missing) > 0 {
		return fmt.Errorf("it needs %s; where that is root, type: sudo make demo", strings.Join(missing, ", "))
	}
	// On a disk, which /tmp need not be.
	dir, err := os.MkdirTemp("/var/tmp", "ballast-demo-")
	if err != nil {
		return err
	}
	m, err := lab.New(ctx, dir, lab.Options{})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && ctx.Err() == nil {
			n.showLogs(m)
		}
		err = errors.Join(err, m.Close())
	}()
	return f(ctx, n, m)
}
