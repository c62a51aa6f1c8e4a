// Command cluster measures what only a cluster does: what one synchronous copy costs a
// database and small synced writes, against the plain directory and GlusterFS with two
// copies; how long a volume cannot be written when the node of its primary dies, and when it
// is moved; how fast a copy catches up, and what the foreground keeps meanwhile; and what
// volumes cost that nobody uses.
//
// The nodes are lab machines that share one machine's cores and its disk, so figures say how
// things grow and compare, not what three machines would do. Everything that is compared was
// measured in one run, in turn. What is left out is said, with the reason.
//
// Figures never make it fail; a goal that is missed is marked in the table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-cluster:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	rounds    int // of what is compared, and of catching up
	seconds   int // that a client of pgbench works
	failovers int
	moves     int
	megabytes int   // that a copy has to catch up
	volumes   []int // idle ones, growing
	used      int   // of them that were attached once
	lease     time.Duration
	quick     bool
	dir       string
	out       string
	plot      string
	only      []string // parts; nil: all
	w         io.Writer
}

func parse(args []string) (o options, err error) {
	o.w = os.Stdout
	f := flag.NewFlagSet("bench-cluster", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 3, "do what is compared, and the catching up, `N` times")
	f.IntVar(&o.seconds, "seconds", 20, "let pgbench work for `N` seconds, and fio for a quarter of it")
	f.IntVar(&o.failovers, "failovers", 100, "kill the primary's node `N` times")
	f.IntVar(&o.moves, "moves", 5, "move a volume `N` times")
	f.IntVar(&o.megabytes, "catchup", 2048, "let a copy catch up `MiB`")
	f.DurationVar(&o.lease, "lease", 5*time.Second, "the nodes' lease")
	f.BoolVar(&o.quick, "quick", false, "tiny sizes: shows that all of it works, and measures nothing")
	f.StringVar(&o.dir, "dir", "/var/tmp", "measure on the disk of the folder `DIR`")
	f.StringVar(&o.out, "out", "bench-out", "write the results to the folder `DIR`")
	volumes := f.String("volumes", "10,30,100,300,1000", "have `A,B` idle volumes")
	f.IntVar(&o.used, "used", 100, "attach the first `N` of them once, before: each then takes 32 MiB of the disk, and some seconds")
	f.StringVar(&o.plot, "plot", "", "write the plot of how idle volumes cost to `FILE` as well")
	only := f.String("only", "", "do only the parts `A,B` of "+strings.Join(partNames(), ", "))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.only, err = chosen(*only); err != nil {
		return o, err
	}
	if o.quick {
		o.rounds, o.seconds, o.failovers, o.moves, o.megabytes, *volumes = 1, 2, 2, 2, 64, "3,6"
		o.used = 3
	}
	if o.rounds < 1 || o.seconds < 1 || o.failovers < 1 || o.moves < 1 || o.megabytes < 1 || f.NArg() > 0 {
		return o, errors.New("want at least one of everything, and no arguments; type -help")
	}
	o.volumes, err = numbers(*volumes)
	return o, err
}

// chosen returns the names of a list that may be empty.
func chosen(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(partNames(), name) {
			return nil, fmt.Errorf("-only %s: there is no part %q; want some of %s", list, name, strings.Join(partNames(), ", "))
		}
	}
	return names, nil
}

func numbers(list string) (all []int, err error) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || len(all) > 0 && n <= all[len(all)-1] {
			return nil, fmt.Errorf("-volumes %q: want numbers, each greater than the one before", list)
		}
		all = append(all, n)
	}
	return all, nil
}

// part is one of the things that are measured.
type part struct {
	name string
	run  func(context.Context, options, *results) error
}

func parts() []part {
	return []part{
		{"pgbench", comparison("pgbench", "^pgbench$")},
		{"fsync", comparison("fsync", "^write4k-fsync$")},
		{"failover", onCluster((*bench).failover)},
		{"move", onCluster((*bench).move)},
		{"move-database", onCluster((*bench).moveDatabase)},
		{"catchup", onCluster((*bench).catchUp)},
		{"idle", onCluster((*bench).idle)},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// run does all parts that are asked for. One that fails keeps none of the others.
func run(ctx context.Context, o options) error {
	if missing := lab.Missing(); len(missing) > 0 {
		return fmt.Errorf("it needs %s; where that is root, type: sudo make bench-cluster", strings.Join(missing, ", "))
	}
	r := newResults(o)
	var failed error
	for _, p := range parts() {
		if o.only != nil && !slices.Contains(o.only, p.name) {
			r.note("%s: left out, as -only says.", p.name)
			continue
		}
		if ctx.Err() != nil {
			r.note("%s: left out, because the run was interrupted.", p.name)
			continue
		}
		began := time.Now()
		fmt.Fprintf(o.w, "\n%s\n", p.name)
		if err := p.run(ctx, o, r); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
			r.note("%s: not all of it was measured: %v", p.name, err)
		}
		fmt.Fprintf(o.w, "  (%.0f s)\n", time.Since(began).Seconds())
		failed = errors.Join(failed, r.save(o.out)) // what is measured is kept
	}
	if o.plot != "" && len(r.Growth) > 0 {
		failed = errors.Join(failed, os.WriteFile(o.plot, []byte(plot(r.Growth)), 0o644))
	}
	r.print(o.w)
	fmt.Fprintf(o.w, "\nEvery sample: %s   Plot: %s\n", filepath.Join(o.out, resultsFile), filepath.Join(o.out, plotFile))
	return failed
}
