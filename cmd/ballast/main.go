// Ballast keeps the state of containers: its data is where a container starts
// next, and nothing that was acknowledged is gone. "ballast help" lists the
// commands; "ballast help exit-codes" says what a script may rely on.
//
// Commands return errors; [run] alone turns them into words for a person and a
// number for a script.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/doctor"
	"github.com/ballast-io/ballast/internal/doctor/gather"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], here())
	stop()
	os.Exit(code)
}

// outside is everything that the commands touch beyond their arguments and the
// agent, so that tests can put something else in its place.
type outside struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	columns        func() int                                       // of the terminal that stderr is; 0: it is none
	tty            func() (*os.File, error)                         // the terminal that a person sits at
	facts          func(context.Context, gather.Where) doctor.Facts // a look at the machine
}

// here is the real process.
func here() outside {
	return outside{
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		getenv:  os.Getenv,
		now:     time.Now,
		columns: columns,
		tty:     openTTY,
		facts:   gather.Facts,
	}
}

// run carries out the command that args name, and returns its exit code.
func run(ctx context.Context, args []string, out outside) int {
	stdout := &screen{w: out.stdout}
	out.stdout = stdout
	root := newRoot(out) //nolint:contextcheck // cobra hands ctx to each command
	root.SetArgs(args)
	root.SetIn(out.stdin)
	root.SetOut(out.stdout)
	root.SetErr(out.stderr)
	return report(ctx, out.stderr, firstError(root.ExecuteContext(ctx), stdout.err))
}

// screen remembers that something could not be written, so that nobody else has
// to: a listing that ends early on a full disk must not look like a whole one.
type screen struct {
	w   io.Writer
	err error
}

func (s *screen) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// newRoot returns the whole tree of commands.
func newRoot(out outside) *cobra.Command {
	c := &cli{outside: out}
	root := &cobra.Command{
		Use:               "ballast",
		Short:             "keep the state of containers",
		Long:              rootLong,
		Args:              cobra.ArbitraryArgs,
		RunE:              group,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.PersistentFlags().StringVar(&c.socket, "socket", "", "reach the agent at the Unix socket `PATH` (default $BALLAST_SOCKET, else "+defaultSocket+")")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%w", err) })
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { printHelp(cmd.OutOrStdout(), cmd) })
	root.SetHelpCommand(newHelp())
	root.PersistentFlags().BoolP("help", "h", false, "show this help")
	root.AddCommand(
		newAgent(c),
		newEngine(c),
		newVolume(c),
		newNode(c),
		newToken(c),
		newJoin(c),
		newArchive(c),
		newRecover(c),
		newVerify(c),
		newStatus(c),
		newCheck(c),
		newDoctor(c),
		newAudit(c),
		newVersion(c),
		newCompletion(),
		newExitCodes(),
	)
	return root
}

const rootLong = `Ballast keeps the state of containers on plain Linux machines with plain Docker:
a container's data is where it starts next, and nothing that was acknowledged is
gone. Docker users need none of these commands:

  docker volume create -d ballast -o size=20G db`

// cli is what the commands share.
type cli struct {
	outside
	socket string // --socket; empty: see [cli.socketPath]
}
