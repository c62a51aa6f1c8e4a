package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

// What "bench" calls the places that it measures.
const (
	plainName   = "plain"
	ballastName = "ballast"
	peerName    = "gluster2"
)

// peerGoal is how many times GlusterFS with two copies a database shall be; one goal for a volume
// against the plain directory is the other program's.
const peerGoal = 1.5

// comparison has the program "bench" do one kind of work, in turn in the plain directory, on a
// volume with a synchronous copy and on GlusterFS with two, and takes its ratios.
func comparison(name, only string) func(context.Context, options, *results) error {
	return func(ctx context.Context, o options, r *results) error {
		dir, err := filepath.Abs(filepath.Join(o.out, name))
		if err != nil {
			return err
		}
		args := []string{
			"-nodes", "3", "-places", strings.Join([]string{plainName, ballastName, peerName}, ","), "-only", only, "-rounds", strconv.Itoa(o.rounds),
			"-seconds", strconv.Itoa(o.seconds), "-dir", o.dir, "-out", dir, "-quick=" + strconv.FormatBool(o.quick),
		}
		// What an earlier run left is not this one's.
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		failed := runBench(ctx, o, args)
		said, err := readCompared(filepath.Join(dir, "results.json"))
		if err == nil {
			said.tell(name, r)
		}
		return errors.Join(failed, err)
	}
}

// runBench builds the program and runs it. It cleans up by itself when it is interrupted.
func runBench(ctx context.Context, o options, args []string) (err error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	built, err := os.MkdirTemp("", "ballast-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(built)) }()
	program := filepath.Join(built, "bench")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./test/bench")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build bench: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, o.w, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	return cmd.Run()
}

// compared is what "bench" leaves in its file of results.
type compared struct {
	Results []struct {
		Name, Title, Unit string
		Goal              float64
		Places            map[string]struct {
			Median  float64
			Samples []float64
		}
	}
	Notes []string
}

func readCompared(file string) (c compared, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	return c, err
}

// tell adds the ratios, each with its goal, and the medians that they are of.
func (c compared) tell(name string, r *results) {
	if len(c.Results) == 0 {
		r.note("%s: nothing was measured.", name)
	}
	for _, m := range c.Results {
		volume := m.Places[ballastName]
		for _, other := range []struct {
			name, is string
			goal     float64
		}{{plainName, "the plain directory", m.Goal}, {peerName, "GlusterFS replica 2", goalOverPeer(name)}} {
			median := m.Places[other.name].Median
			if median == 0 || volume.Median == 0 {
				r.note("%s: no ratio to %s, which was not measured in this run.", m.Title, other.is)
				continue
			}
			r.atLeast(m.Title+": of "+other.is, "times", volume.Median/median, other.goal)
		}
		for _, place := range []string{plainName, ballastName, peerName} {
			if s := m.Places[place]; s.Median > 0 {
				r.atLeast(m.Title+": "+place, m.Unit, s.Median, 0, s.Samples...)
			}
		}
	}
	for _, note := range c.Notes {
		r.note("%s: %s", name, note)
	}
}

func goalOverPeer(name string) float64 {
	if name == "pgbench" {
		return peerGoal
	}
	return 0
}
