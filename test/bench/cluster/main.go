// Command cluster measures what only a cluster does: how long a volume cannot be written
// when the node of its primary dies, and when it is moved; how fast a copy catches up, and
// what the foreground keeps meanwhile; and what volumes cost that nobody uses.
//
// The nodes are lab machines that share one machine's cores and its disk, so figures say how
// things grow and compare, not what three machines would do. What one synchronous copy costs
// a database is measured by "bench -nodes 3", against the plain directory and GlusterFS.
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
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-cluster:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	failovers int
	moves     int
	megabytes int   // that a copy has to catch up
	volumes   []int // idle ones, growing
	lease     time.Duration
	dir       string
	out       string
	only      *regexp.Regexp
	w         io.Writer
}

func parse(args []string) (o options, err error) {
	o.w = os.Stdout
	f := flag.NewFlagSet("bench-cluster", flag.ContinueOnError)
	f.IntVar(&o.failovers, "failovers", 100, "kill the primary's node `N` times")
	f.IntVar(&o.moves, "moves", 5, "move a volume `N` times")
	f.IntVar(&o.megabytes, "catchup", 2048, "let a copy catch up `MiB`")
	f.DurationVar(&o.lease, "lease", 5*time.Second, "the nodes' lease")
	f.StringVar(&o.dir, "dir", "/var/tmp", "measure on the disk of the folder `DIR`")
	f.StringVar(&o.out, "out", "bench-out", "write the results to the folder `DIR`")
	volumes := f.String("volumes", "10,30,100,300,1000", "have `A,B` idle volumes")
	only := f.String("only", ".", "do only the parts whose name matches `REGEXP`: "+strings.Join(partNames(), ", "))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for s := range strings.SplitSeq(*volumes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-volumes %q: want numbers", *volumes)
		}
		o.volumes = append(o.volumes, n)
	}
	o.only, err = regexp.Compile(*only)
	return o, err
}

// part is one of the things that are measured.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

func parts() []part {
	return []part{
		{"failover", (*bench).failover},
		{"move", (*bench).move},
		{"move-database", (*bench).moveDatabase},
		{"catchup", (*bench).catchUp},
		{"idle", (*bench).idle},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// bench is one part, on a cluster of its own.
type bench struct {
	options
	c *lab.Cluster
	r *results
}

func run(ctx context.Context, o options) error {
	if missing := lab.Missing(); len(missing) > 0 {
		return fmt.Errorf("it needs %s; where that is root, type: sudo make bench-cluster", strings.Join(missing, ", "))
	}
	r := newResults(o.lease)
	var failed error
	for _, p := range parts() {
		if !o.only.MatchString(p.name) || ctx.Err() != nil {
			continue
		}
		fmt.Fprintf(o.w, "\n%s\n", p.name)
		if err := onCluster(ctx, o, r, p); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
		}
		failed = errors.Join(failed, r.save(o.out)) // what is measured is kept
	}
	r.print(o.w)
	return failed
}

// onCluster does a part on three nodes, which are gone afterwards.
func onCluster(ctx context.Context, o options, r *results, p part) (err error) {
	parent, err := os.MkdirTemp(o.dir, "ballast-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(parent)) }()
	c, err := lab.NewCluster(ctx, filepath.Join(parent, "c"), 3, lab.ClusterOptions{Machine: lab.Options{
		AgentArgs: []string{"--docker-socket", "", "--plugin-socket", "", "--archive", "none", "--lease", o.lease.String()},
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return p.run(&bench{options: o, c: c, r: r}, ctx)
}

// api calls a node's agent.
func api(n *lab.Node) *agentapi.Client { return agentapi.Of(n.Machine) }

const (
	volumeName = "bench"
	holder     = "bench"
)

// volume makes a volume with two copies and attaches it on the first node.
func (b *bench) volume(ctx context.Context, size string) (primary *lab.Node, mountpoint string, err error) {
	primary = b.c.Nodes[0]
	if _, err := api(primary).Create(ctx, volumeName, map[string]string{"size": size, "repl": "2"}); err != nil {
		return nil, "", err
	}
	mountpoint, err = api(primary).Attach(ctx, volumeName, holder)
	if err != nil {
		return nil, "", err
	}
	_, err = b.awaitCopy(ctx, primary)
	return primary, mountpoint, err
}

// patience bounds what waits for a copy.
const patience = 10 * time.Minute

// awaitCopy waits until the primary and another node are in sync, and returns that one.
func (b *bench) awaitCopy(ctx context.Context, primary *lab.Node) (other *lab.Node, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = lab.Poll(ctx, "a copy to be in sync", func(ctx context.Context) error {
		v, err := api(primary).Inspect(ctx, volumeName)
		if err != nil {
			return err
		}
		in := agentapi.InSync(v)
		for _, n := range b.c.Nodes {
			if n == primary {
				continue
			}
			for _, name := range in {
				if name == n.Name && len(in) > 1 {
					other = n
				}
			}
		}
		if other == nil || v.GetPrimary() != primary.Name {
			return fmt.Errorf("in sync: %v; primary %s", in, v.GetPrimary())
		}
		return nil
	})
	return other, err
}
