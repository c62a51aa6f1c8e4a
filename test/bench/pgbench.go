package main

import (
	"context"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"github.com/ballast-io/ballast/test/lab"
)

// pgbench is PostgreSQL's own benchmark, of short transactions that each wait for
// the disk. PostgreSQL runs as it comes, but for max_wal_size: a checkpoint in
// the middle of one round and not of the next would be all that one sees.
type pgbench struct {
	b       *bench
	scale   string
	seconds string
}

func newPgbench(b *bench) *pgbench {
	g := &pgbench{b: b, scale: "20", seconds: strconv.Itoa(b.seconds)}
	if b.quick {
		g.scale, g.seconds = "1", "1"
	}
	return g
}

func (g *pgbench) name() string { return "pgbench" }

func (g *pgbench) metrics() []metric {
	return []metric{
		{"pgbench-c1", "PostgreSQL, pgbench, 1 client", "tps", g.b.goal(0.85, 0.70)},
		{"pgbench-c8", "PostgreSQL, pgbench, 8 clients", "tps", g.b.goal(0.80, 0.70)},
	}
}

func (g *pgbench) data(p *place) string { return path.Join(p.dir, "pg") }

func (g *pgbench) prepare(ctx context.Context, p *place) error {
	if _, err := g.b.m.Output(ctx, "install", "-d", "-m", "700", "-o", postgresUser, g.data(p)); err != nil {
		return err
	}
	if _, err := g.output(ctx, "initdb", "--no-sync", "--auth=trust", "-D", g.data(p)); err != nil {
		return err
	}
	return g.serving(ctx, p, func() error {
		_, err := g.output(ctx, "pgbench", "-h", sockets, "-i", "-q", "-s", g.scale, "postgres")
		return err
	})
}

func (g *pgbench) run(ctx context.Context, p *place) (sample, error) {
	s := sample{}
	err := g.serving(ctx, p, func() error {
		for _, clients := range []string{"1", "8"} {
			out, err := g.output(ctx, "pgbench", "-h", sockets, "-n", "-c", clients, "-j", clients, "-T", g.seconds, "postgres")
			if err != nil {
				return err
			}
			if s["pgbench-c"+clients], err = transactions(out); err != nil {
				return err
			}
		}
		return nil
	})
	return s, err
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

func transactions(text string) (float64, error) {
	found := tps.FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("pgbench said no figure: %.200s", text)
	}
	return strconv.ParseFloat(found[1], 64)
}

// serving runs f while PostgreSQL serves the data, and stops it cleanly.
func (g *pgbench) serving(ctx context.Context, p *place, f func() error) error {
	cmd := g.command(ctx, "postgres", "-D", g.data(p), "-k", sockets,
		"-c", "listen_addresses=", "-c", "max_wal_size=8GB", "-c", "fsync=on", "-c", "synchronous_commit=on")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWIPC // nobody else removes its shared memory when it is killed
	return g.b.serving(ctx, server{
		cmd: cmd,
		end: syscall.SIGINT, // "fast shutdown"
		answers: func(ctx context.Context) error {
			_, err := g.output(ctx, "pg_isready", "-h", sockets)
			return err
		},
	}, f)
}

func (g *pgbench) output(ctx context.Context, program string, args ...string) (string, error) {
	return output(g.b.m, g.command(ctx, program, args...))
}

// command runs a program of PostgreSQL as the user that it insists on.
func (g *pgbench) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := g.b.m.Command(ctx, postgresProgram(program), args...)
	cmd.Dir = "/"
	if id, err := lookUp(postgresUser); err == nil { // else it says itself what is wrong
		cmd.SysProcAttr.Credential = id
	}
	return cmd
}

const postgresUser = "postgres"

// postgresProgram finds a program in the newest version that is installed.
func postgresProgram(name string) string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return name
	}
	return slices.Max(found)
}

func (g *pgbench) clear(ctx context.Context, p *place) error { return remove(ctx, g.b.m, g.data(p)) }

func remove(ctx context.Context, m *lab.Machine, file string) error {
	_, err := m.Output(ctx, "rm", "-rf", file)
	return err
}
