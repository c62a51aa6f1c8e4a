package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// kernel is user-mode Linux.
const kernel = "linux.uml"

// options of a whole run.
type options struct {
	cuts     int // that count (P3)
	machines int
	seed     uint64
	progress io.Writer // nil: quiet
}

// missing says what this machine lacks to run others.
func missing() []string {
	var missing []string
	for _, program := range []string{kernel, "mkfs.ext4", "redis-server", "sqlite3"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		missing = append(missing, "/dev/fuse")
	}
	return missing
}

// run cuts until enough cuts count. The error is about the running; what was lost
// is in the tally.
func run(ctx context.Context, opts options) (*tally, error) {
	t := newTally(opts)
	// A machine's processes outlive the first of them by a moment: we bury them (P4).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return t, fmt.Errorf("adopt processes: %w", err)
	}
	// Not t.TempDir: it has long names, which do not fit into the address of a socket
	dir, err := os.MkdirTemp("", "powercut-")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(dir) // machines are gone by then
	g, ctx := errgroup.WithContext(ctx)
	for i := range opts.machines {
		l := &life{
			dir:   filepath.Join(dir, fmt.Sprintf("m%d", i)),
			rng:   rand.New(rand.NewPCG(opts.seed, uint64(i))),
			acked: map[string]uint64{},
			tally: t,
		}
		g.Go(func() error { return l.live(ctx) })
	}
	err = g.Wait()
	t.elapsed = time.Since(t.start)
	return t, err
}

// tally is what came of it, for all machines.
type tally struct {
	want     int
	progress io.Writer
	start    time.Time
	elapsed  time.Duration

	mu         sync.Mutex // guards everything below
	cuts       int        // that count
	inRecovery int        // cuts before the machine had recovered from the one before
	idle       int        // cuts in which nothing was acknowledged
	boots      int
	verified   int // comparisons of a workload's state
	acks       map[string]uint64
	dropped    int // sectors that disks forgot
	written    int // sectors that disks had not been told to keep, at a cut
	wrong      []string
}

func newTally(opts options) *tally {
	return &tally{want: opts.cuts, progress: opts.progress, start: time.Now(), acks: map[string]uint64{}}
}

// enough says whether no more cuts are wanted.
func (t *tally) enough() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cuts >= t.want || len(t.wrong) > 0
}

// add takes one cycle into the account.
func (t *tally) add(c cycle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.boots++
	t.verified += c.verified
	t.acks[c.workload] += c.acks
	t.written += c.written
	t.dropped += c.dropped
	t.wrong = append(t.wrong, c.wrong...)
	switch {
	case c.early:
		t.inRecovery++
	case c.acks == 0:
		t.idle++
	default:
		t.cuts++
		if t.progress != nil && t.cuts%10 == 0 {
			fmt.Fprintf(t.progress, "  %4d cuts, %d s\n", t.cuts, int(time.Since(t.start).Seconds()))
		}
	}
}

func (t *tally) print(w io.Writer) {
	total := uint64(0)
	var by []string
	for name, n := range t.acks {
		total += n
		if n > 0 {
			by = append(by, fmt.Sprintf("%s %d", name, n))
		}
	}
	slices.Sort(by)
	for _, what := range t.wrong {
		fmt.Fprintln(w, "WRONG", what)
	}
	fmt.Fprintf(w, "cuts=%d in_recovery=%d without_acks=%d boots=%d\n", t.cuts, t.inRecovery, t.idle, t.boots)
	fmt.Fprintf(w, "acks=%d (%s)\n", total, strings.Join(by, ", "))
	fmt.Fprintf(w, "unsynced_sectors_at_cuts=%d of_them_dropped=%d\n", t.written, t.dropped)
	fmt.Fprintf(w, "comparisons=%d lost=%d in %d s\n", t.verified, len(t.wrong), int(t.elapsed.Seconds()))
}

// verify takes into the account what a boot without work found.
func (t *tally) verify(c cycle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.boots++
	t.verified += c.verified
	t.wrong = append(t.wrong, c.wrong...)
}
