package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ballast-io/ballast/test/workload"
)

// patience bounds one boot; a machine that takes longer hangs.
const patience = 3 * time.Minute

// life is one machine over all its boots.
type life struct {
	dir   string
	rng   *rand.Rand
	disk  *disk
	acked map[string]uint64 // by workload: what has been promised, or was found once
	tally *tally

	recovery time.Duration // how long the last recovery took
}

// cycle is what one boot and its cut brought.
type cycle struct {
	workload string
	early    bool // cut before the recovery was over
	acks     uint64
	verified int
	written  int // sectors that were not synced at the cut
	dropped  int // of them
	wrong    []string
}

// live boots and cuts until there is enough, and boots once more to see what the
// last cut left.
func (l *life) live(ctx context.Context) (err error) {
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		return err
	}
	if l.disk, err = openDisk(ctx, l.dir, l.rng); err != nil {
		return err
	}
	defer l.disk.close()
	for first := true; ; first = false {
		last := !first && l.tally.enough()
		c, err := l.cycle(ctx, first || last)
		if err != nil {
			return err
		}
		if last || len(c.wrong) > 0 {
			l.tally.verify(c)
			return nil
		}
		if !first {
			l.tally.add(c)
		}
	}
}

// cycle boots the machine, compares, lets it work for a while unless it is only to
// recover, and cuts its power.
func (l *life) cycle(ctx context.Context, recoverOnly bool) (_ cycle, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := cycle{workload: workload.Names()[l.rng.IntN(len(workload.Names()))]}
	m, err := boot(l.dir, l.disk.dir, c.workload)
	if err != nil {
		return c, err
	}
	w := &watch{life: l, cycle: &c, booted: time.Now()}
	if !recoverOnly && l.rng.IntN(8) == 0 {
		c.early = true
		w.cutIn(time.Duration(l.rng.Int64N(int64(l.recovery))))
	}
	err = w.until(ctx, m, recoverOnly)
	m.cut()
	for line := range m.lines { // what it said before the cut, and we had not heard
		w.hear(line)
	}
	m.bury()
	c.written, c.dropped, err = l.disk.powerCut(err)
	if err != nil {
		return c, fmt.Errorf("%w; the machine said last:\n%s", err, m.tail())
	}
	return c, nil
}

// watch follows what a machine says during one cycle.
type watch struct {
	life   *life
	cycle  *cycle
	booted time.Time
	cut    <-chan time.Time // nil: not decided yet
	ready  bool
	failed error
}

func (w *watch) cutIn(d time.Duration) { w.cut = time.After(d) }

// until returns when it is time to cut.
func (w *watch) until(ctx context.Context, m *machine, recoverOnly bool) error {
	for {
		select {
		case line, ok := <-m.lines:
			if !ok {
				return fmt.Errorf("the machine ended by itself")
			}
			w.hear(line)
			if w.failed != nil || recoverOnly && w.ready {
				return w.failed
			}
		case <-w.cut:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for the machine: %w", ctx.Err())
		}
	}
}

// spread is how long a machine works before its power goes, at most.
const spread = 1200 * time.Millisecond

// hear takes in one line of the console. The kernel's own are no concern of ours.
func (w *watch) hear(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "@ready":
		w.ready = true
		w.life.recovery = time.Since(w.booted)
	case "@found":
		name, count, _ := strings.Cut(rest, " ")
		w.compare(name, count)
	case "@ack":
		w.acknowledged(rest)
	case "@fail":
		w.failed = fmt.Errorf("inside the machine: %s", rest)
	}
}

func (w *watch) acknowledged(count string) {
	n, err := strconv.ParseUint(count, 10, 64)
	if err != nil {
		return // the kernel spoke in the middle of the line
	}
	w.cycle.acks++
	w.life.acked[w.cycle.workload] = n
	if w.cut == nil {
		w.cutIn(time.Duration(w.life.rng.Int64N(int64(spread))))
	}
}

// compare holds what was found of a workload against what was acknowledged
// (P1, P2). What was found once must stay.
func (w *watch) compare(name, count string) {
	n, err := strconv.ParseUint(count, 10, 64)
	acked := w.life.acked[name]
	w.cycle.verified++
	if err != nil || n < acked || n > acked+1 {
		w.cycle.wrong = append(w.cycle.wrong, fmt.Sprintf("%s: acknowledged %d steps, found %s", name, acked, count))
		return
	}
	w.life.acked[name] = n
}
