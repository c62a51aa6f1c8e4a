package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var (
	cuts = flag.Int("cuts", 4, "how often TestPowerCut cuts the power")
	seed = flag.Uint64("seed", 1, "repeats the choices of an earlier run")
)

// TestMain makes the test binary a guest's process 1 and its engine, too.
func TestMain(m *testing.M) {
	if done, err := actAs(os.Args); done {
		exit(err)
	}
	os.Exit(m.Run())
}

// TestPowerCut attacks G1 and G2 with a real kernel, as "make powercut" does for longer.
func TestPowerCut(t *testing.T) {
	if missing := missing(); len(missing) > 0 {
		t.Skipf("left out: cutting a machine's power needs %s", strings.Join(missing, ", "))
	}
	result, err := run(t.Context(), options{cuts: *cuts, machines: 2, seed: *seed})
	var said strings.Builder
	result.print(&said)
	t.Logf("seed %d\n%s", *seed, said.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range result.wrong {
		t.Error(wrong)
	}
}
