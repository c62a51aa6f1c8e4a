// Command bench does the same work on a plain directory, on a Ballast volume and
// on GlusterFS volumes of the same disk, and says what each costs.
//
// The work is interleaved: every round visits every place before the next round
// begins, and the order changes, so that a disk that becomes slower does so for
// all. The figure of a place is the median of its rounds; the ratio is that to
// the plain directory, and above 1 is better than it.
//
// Everything runs on a lab machine (see package lab): nothing that is installed
// or running on the host is touched, and nothing is left behind, also after
// Ctrl-C. What was measured so far is kept then. Figures never make it fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// The second Ctrl-C ends the program at once. The lab cleans up even then.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Stdout, os.Args[1:]))
}

const (
	exitMeasured    = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// options are what the command line says.
type options struct {
	rounds  int
	limit   time.Duration // of one run on a peer, to be asked again
	seconds int           // that a client of pgbench works; fio a quarter of it
	quick   bool
	only    *regexp.Regexp // of the names of workloads
	places  []string       // of names of places
	binary  string         // to be measured; "": this module's
	dir     string         // on the disk to measure
	out     string         // for the results
	nodes   int            // of the cluster that the volume is in; two or more: it has a copy on another one
}

func parse(w io.Writer, args []string) (options, error) {
	o := options{only: regexp.MustCompile("")}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard) // we say it ourselves
	f.Usage = func() { f.SetOutput(w); f.PrintDefaults() }
	f.IntVar(&o.rounds, "rounds", 5, "visit every place `N` times")
	f.IntVar(&o.seconds, "seconds", 20, "let pgbench work for `N` seconds, and fio for a quarter of it")
	f.DurationVar(&o.limit, "peer-limit", 10*time.Minute, "ask a peer no more for work that once took longer than `TIME`")
	f.BoolVar(&o.quick, "quick", false, "tiny sizes: shows that all of it works, and measures nothing")
	f.StringVar(&o.binary, "ballast", "", "measure the binary `FILE` (default bin/ballast)")
	f.StringVar(&o.dir, "dir", "/var/tmp", "measure the disk of the folder `DIR`")
	f.StringVar(&o.out, "out", "bench-out", "write the results to the folder `DIR`")
	f.IntVar(&o.nodes, "nodes", 1, "have a volume on a cluster of `N` nodes, with a synchronous copy when there are two or more")
	places := f.String("places", strings.Join(placeNames, ","), "measure only these places, `A,B`")
	f.Func("only", "do only the work whose name matches `REGEXP`: "+strings.Join(workNames(), ", "), func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.places = strings.Split(*places, ",")
	for _, p := range o.places {
		if !slices.Contains(placeNames, p) {
			return o, fmt.Errorf("no place is called %q; known are %s", p, strings.Join(placeNames, ", "))
		}
	}
	if o.rounds < 1 || o.seconds < 1 || o.nodes < 1 || f.NArg() > 0 {
		return o, fmt.Errorf("want at least one round, one second, one node and no arguments; type -help")
	}
	return o, nil
}

func run(ctx context.Context, w io.Writer, args []string) int {
	o, err := parse(w, args)
	if errors.Is(err, flag.ErrHelp) {
		return exitMeasured
	}
	if err != nil {
		fmt.Fprintln(w, err)
		return exitUsage
	}
	r := newReport(o)
	err = measure(ctx, w, o, r)
	if ctx.Err() != nil {
		r.note("This run was interrupted: the last work was not done in every round.")
	}
	if len(r.Results) > 0 {
		err = errors.Join(err, r.save(o.out))
		r.print(w)
		r.tellWhere(w, o.out)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(w, "\nInterrupted. Everything but the results is gone again.")
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(w, "\nThe benchmark failed: %v\n", err)
		return exitFailed
	}
	return exitMeasured
}
