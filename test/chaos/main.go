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
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

func main() {
	if done, err := actAs(os.Args); done {
		exit(err)
	}
	opts := options{progress: os.Stdout}
	flag.IntVar(&opts.rounds, "n", 20, "lose the primary so `often`")
	flag.IntVar(&opts.rebuilds, "rebuilds", 0, "then lose it so `often` to a copy that was just rebuilt")
	flag.Uint64Var(&opts.seed, "seed", uint64(time.Now().UnixNano()), "repeat the choices of an earlier campaign")
	flag.IntVar(&opts.nodes, "nodes", 3, "on so many nodes")
	flag.IntVar(&opts.replicas, "replicas", 2, "with so many copies")
	flag.DurationVar(&opts.lease, "lease", 3*time.Second, "let a node live so long without being heard of")
	flag.IntVar(&opts.compare, "compare", 2, "compare the copies every so many failovers, and after each rebuild; 0: never")
	flag.StringVar(&opts.ballast, "ballast", "", "attack the binary `FILE` (default bin/ballast)")
	flag.StringVar(&opts.only, "only", "", "lose it in this `way` only, such as \"primary stopped\"")
	flag.StringVar(&opts.disturb, "disturb", "", "disturb it in this `way` only, such as \"link cut\", or \"link cut still\": not mended before it is lost")
	flag.StringVar(&opts.way, "way", "", "rebuild in this `way` only, such as \"a copy is wiped\"")
	flag.StringVar(&opts.evidence, "evidence", "chaos-out", "keep what was wrong in the folder `DIR`")
	flag.Parse()
	if missing := lab.Missing(); len(missing) > 0 {
		exit(fmt.Errorf("it needs %s; where that is root, type: sudo make chaos", strings.Join(missing, ", ")))
	}
	if len(chosen(losses(), opts.only)) == 0 || len(chosen(disturbances(), strings.TrimSuffix(opts.disturb, still))) == 0 {
		exit(errors.New("no fault has that name"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	exit(campaignOf(ctx, opts))
}

func campaignOf(ctx context.Context, opts options) error {
	fmt.Printf("%d nodes, %d copies, a lease of %v: losing the primary %d times, and %d times to a rebuilt copy, seed %d\n",
		opts.nodes, opts.replicas, opts.lease, opts.rounds, opts.rebuilds, opts.seed)
	t, err := run(ctx, opts)
	t.print(os.Stdout)
	if err == nil {
		err = t.says()
	}
	if err == nil {
		err = t.never()
	}
	return err
}

// leastRate is how many acknowledgements per second a campaign needs to say anything (K2).
const leastRate = 10

var errIdle = errors.New("a campaign in which little happens shows little")

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// actAs plays the user's part, where the arguments ask for it.
func actAs(args []string) (done bool, err error) {
	switch {
	case len(args) > 1 && args[1] == "use":
		return true, use(args[2:])
	case len(args) == 4 && args[1] == "pour":
		return true, pour(args[2], args[3])
	case len(args) == 6 && args[1] == "scribble":
		return true, scribbleOn(args[2:])
	}
	return false, nil
}
