package main

import (
	"errors"
	"flag"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast/test/lab/labtest"
)

var (
	failovers = flag.Int("failovers", 6, "how often TestFailovers loses a primary")
	rebuilds  = flag.Int("rebuilds", 2, "how often TestRebuilds loses one to a rebuilt copy")
)

// lease of the nodes in tests.
const lease = 3 * time.Second

// TestFailovers attacks G1 to G4 and G6, as "make chaos" does for longer: here a few losses, and others each
// time.
func TestFailovers(t *testing.T) {
	t.Parallel()
	campaignIn(t, options{rounds: *failovers})
}

// TestRebuilds attacks G4, as "make chaos REBUILD=200" does for longer.
func TestRebuilds(t *testing.T) {
	t.Parallel()
	campaignIn(t, options{rebuilds: *rebuilds})
}

func campaignIn(t *testing.T, opts options) {
	labtest.Require(t)
	opts.seed = seed(t)
	opts.nodes, opts.replicas, opts.lease, opts.compare = 3, 2, lease, 1
	opts.ballast = labtest.Binary(t)
	var said strings.Builder
	opts.progress = &said
	tally, err := run(t.Context(), opts)
	tally.print(&said)
	t.Logf("seed %d\n%s", opts.seed, said.String())
	if err := errors.Join(err, tally.never()); err != nil {
		t.Fatal(err)
	}
	if err := tally.says(); err != nil {
		t.Error(err)
	}
}

var anySeed = sync.OnceValue(func() uint64 { return uint64(time.Now().UnixNano()) })

// seed is the one in BALLAST_SEED, or another one each time: the log says which.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("BALLAST_SEED")
	if text == "" {
		t.Logf("BALLAST_SEED=%d repeats these choices", anySeed())
		return anySeed()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("BALLAST_SEED: %v", err)
	}
	return n
}
