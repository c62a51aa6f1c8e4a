// Command archive measures what archiving costs and how fast a volume is back,
// against restic on the same data and the same S3 server, in one run.
//
// Figures are ratios of what was measured side by side. They never make it fail.
// Everything runs on a lab machine: nothing that is installed or running on the
// host is touched, and nothing is left behind, also after Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/ballast-io/ballast/internal/archive/store/s3test"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/objectstore"
	"github.com/ballast-io/ballast/test/postgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-archive:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	sizes   []int // GiB of PostgreSQL's data
	seconds int   // of pgbench, in each round
	rounds  int   // of pgbench, with archiving and without
	dir     string
	only    *regexp.Regexp
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench-archive", flag.ContinueOnError)
	sizes := f.String("sizes", "1,4,10", "restore PostgreSQL with `A,B` GiB of data")
	f.IntVar(&o.seconds, "seconds", 20, "let pgbench work for `N` seconds at a time")
	f.IntVar(&o.rounds, "rounds", 3, "let it work `N` times with archiving and `N` times without")
	f.StringVar(&o.dir, "dir", "/var/tmp", "measure on the disk of the folder `DIR`")
	only := f.String("only", ".", "do only the parts whose name matches `REGEXP`: "+strings.Join(partNames(), ", "))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-sizes %q: want numbers of GiB", *sizes)
		}
		o.sizes = append(o.sizes, n)
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
		{"first", (*bench).firstTime},
		{"change", (*bench).smallChange},
		{"restore", (*bench).restores},
		{"pgbench", (*bench).pgbench},
		{"idle", (*bench).idle},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// bench is one run of the program, on a machine with a store.
type bench struct {
	options
	w      io.Writer
	m      *lab.Machine
	store  objectstore.Store
	server *objectstore.Server
	memory *peak
}

func run(ctx context.Context, o options) error {
	if err := needs(); err != nil {
		return err
	}
	for _, p := range parts() {
		if !o.only.MatchString(p.name) {
			continue
		}
		// Each on a machine of its own: none has to clear up after another.
		if err := onMachine(ctx, o, func(b *bench) error { return p.run(b, ctx) }); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func needs() error {
	if os.Geteuid() != 0 {
		return errors.New("this needs root: type sudo make bench-archive")
	}
	if missing := append(lab.Missing(), postgres.Missing()); strings.Join(missing, "") != "" {
		return fmt.Errorf("this machine lacks %s: type make bench-archive, which installs it", strings.Join(missing, ", "))
	}
	_, err := exec.LookPath("restic")
	return err
}

const password = "bench-archive-password"

// onMachine makes a machine with a store and an agent for f.
func onMachine(ctx context.Context, o options, f func(*bench) error) (err error) {
	parent, err := os.MkdirTemp(o.dir, "ballast-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
	program, err := s3test.Program(ctx, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
	if err != nil {
		return err
	}
	b := &bench{options: o, w: os.Stdout, store: objectstore.Store{Folder: filepath.Join(parent, "store"), Program: program}}
	secret := filepath.Join(parent, "password")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return err
	}
	args := []string{"--docker-socket", "", "--plugin-socket", "", "--archive", b.store.URL("bench"), "--archive-password-file", secret}
	if b.m, err = lab.New(ctx, filepath.Join(parent, "m"), lab.Options{AgentArgs: args}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.m.Close()) }()
	if b.server, err = b.store.Serve(ctx, b.m); err != nil {
		return err
	}
	if err := b.m.Agent.Start(ctx); err != nil {
		return err
	}
	if _, err := b.m.Ballast(ctx, "archive", "init"); err != nil {
		return err
	}
	b.memory = watch(b.m.Agent.PID())
	defer b.memory.stop()
	return f(b)
}

// say prints one figure.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.w, format+"\n", args...) }
