// Command labshell is a few lab machines with a Ballast agent each, and a prompt: a place
// to try and to break things. When it ends, the machines are gone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ballast-io/ballast/test/lab"
)

func main() {
	n := flag.Int("n", 3, "make `N` nodes")
	apart := flag.Bool("apart", false, "start no agents: machines that reach each other, to make a cluster of by hand")
	disk := flag.Int64("disk", 8<<30, "give every node a disk of `BYTES` of its own, which takes only what is used")
	flag.Parse()
	// Ctrl-C is for what runs at the prompt. It is caught rather than ignored: what is
	// ignored here would be ignored there, too.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	opts := lab.ClusterOptions{Apart: *apart, Machine: lab.Options{Disk: *disk}}
	if err := withCluster(ctx, *n, opts); err != nil {
		fmt.Fprintln(os.Stderr, "labshell:", err)
		os.Exit(1)
	}
}

func withCluster(ctx context.Context, n int, opts lab.ClusterOptions) (err error) {
	if missing := lab.Missing(); len(missing) > 0 {
		return fmt.Errorf("it needs %s; where that is root, type: sudo make lab", strings.Join(missing, ", "))
	}
	dir, err := os.MkdirTemp("/var/tmp", "ballast-lab-")
	if err != nil {
		return err
	}
	c, err := lab.NewCluster(ctx, dir, n, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	s := &shell{c: c, in: os.Stdin, out: os.Stdout}
	s.greet(opts.Apart)
	return s.run(ctx)
}
