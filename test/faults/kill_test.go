package faults

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/volume"
	"github.com/ballast-io/ballast/test/workload"
)

var kills = flag.Int("kills", 50, "how often TestEngineKilled kills an engine")

// TestEngineKilled kills the engine below files, SQLite and Redis in the middle of
// their work, again and again: the volume and its filesystem are sound, and hold
// every step that was acknowledged outside (G1, G2).
func TestEngineKilled(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	v := n.create("db", "512M")
	a := &attack{node: n, id: v.GetId(), rng: rand.New(rand.NewPCG(1, 6)), acked: map[string]uint64{}}
	a.mountpoint = n.attach("db")
	start := time.Now()
	steps := 0
	for i := range *kills {
		name := workload.Names()[i%len(workload.Names())]
		steps += a.killDuring(name)
		a.recover()
		if t.Failed() {
			t.Fatalf("after kill %d, during %s", i+1, name)
		}
	}
	n.detach("db")
	t.Logf("%d kills, %d steps acknowledged, %d comparisons, 0 lost, in %.0f s", *kills, steps, a.compared, time.Since(start).Seconds())
}

// attack is a volume whose engine is killed.
type attack struct {
	*node
	id         string
	mountpoint string
	rng        *rand.Rand
	acked      map[string]uint64 // by workload
	compared   int
}

// killDuring kills the engine at some step of a workload and returns how many were
// acknowledged.
func (a *attack) killDuring(name string) (steps int) {
	a.t.Helper()
	e, err := engine.Dial(a.folder(a.id))
	if err != nil {
		a.t.Fatal(err)
	}
	defer e.Close()
	killAt := 1 + a.rng.IntN(60)
	err = a.work(a.t.Context(), name, func() {
		if steps++; steps == killAt {
			if err := e.Kill(); err != nil {
				a.t.Error(err)
			}
		}
	})
	if steps < killAt {
		a.t.Fatalf("%s made only %d steps: %v", name, steps, err) // F2
	}
	if err := e.Wait(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	return steps
}

// work goes on with a workload until it fails, and calls acked for every step that
// was acknowledged. It returns why it failed.
func (a *attack) work(ctx context.Context, name string, acked func()) error {
	return a.listen(ctx, func(word, rest string) {
		n, err := strconv.ParseUint(rest, 10, 64)
		if word != "@ack" || err != nil {
			return
		}
		a.acked[name] = n
		acked()
	}, name)
}

// listen runs the worker on the mounted volume, and calls hear for all it says. It
// returns what the worker failed with.
func (a *attack) listen(ctx context.Context, hear func(word, rest string), args ...string) (failed error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := a.m.Command(ctx, self, append([]string{"work", a.mountpoint}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := a.m.Start(cmd); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if word == "@end" {
			failed = errors.New(rest)
		}
		hear(word, rest)
	}
	return errors.Join(failed, cmd.Wait())
}

// recover takes the volume back from the dead engine, and verifies all of it.
func (a *attack) recover() {
	a.t.Helper()
	a.letGo()
	report, err := volume.Check(open(a.t, a.folder(a.id)), ".")
	if err != nil || len(report.Damage) > 0 {
		a.t.Errorf("check: %v, %v", err, report.Damage)
	}
	a.mountpoint = a.attach("db")
	err = a.listen(a.t.Context(), func(word, rest string) {
		if word == "@found" {
			a.compare(rest)
		}
	})
	if err != nil {
		a.t.Errorf("inspection: %v", err)
	}
	a.fsck()
}

// letGo ends our hold, and waits until nothing of the volume is attached.
func (a *attack) letGo() {
	a.t.Helper()
	a.eventually("the volume to be let go", func(ctx context.Context) error { return a.tryDetach(ctx, "db") })
	a.eventually("the volume to be detached", func(context.Context) error {
		// What failed has been taken apart as well, by the agent itself.
		if state := a.inspect("db").GetState(); state != "detached" && state != "failed" {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
}

// compare holds what was found of a workload against what was acknowledged. What was
// found once must stay.
func (a *attack) compare(found string) {
	a.t.Helper()
	name, count, _ := strings.Cut(found, " ")
	n, err := strconv.ParseUint(count, 10, 64)
	if acked := a.acked[name]; err != nil || n < acked || n > acked+1 {
		a.t.Errorf("%s: acknowledged %d steps, found %s", name, acked, count)
	}
	a.acked[name] = n
	a.compared++
}

// fsck checks the filesystem while nothing writes to it.
func (a *attack) fsck() {
	a.t.Helper()
	device := ""
	a.eventually("the device's name", func(context.Context) error {
		if device = a.inspect("db").GetEngine().GetDevice(); device == "" {
			return errors.New("not known yet")
		}
		return nil
	})
	for _, c := range [][]string{
		{"mount", "-o", "remount,ro", a.mountpoint},
		{"e2fsck", "-fn", device},
		{"mount", "-o", "remount,rw", a.mountpoint},
	} {
		if out, err := a.m.Output(a.t.Context(), c[0], c[1:]...); err != nil {
			a.t.Errorf("%v\n%s", err, out)
		}
	}
}
