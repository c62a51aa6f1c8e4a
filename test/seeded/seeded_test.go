// Package seeded proves the harness: it builds the tests of the parts that data can be
// lost by with mistakes in the code that others made in theirs, and wants every one of
// them found.
package seeded

import (
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// part is code with bugs that can be asked for, and the tests that must find them.
type part struct {
	name  string
	bugs  []string // the files that name them
	least int      // so many there are at least
	tests []suite

	finders map[string]string // the tests by bug, of the one suite; nil: all of each suite
}

// suite is some tests of a package.
type suite struct {
	dir string
	run string
}

var (
	simulation = suite{"../../internal/replica/sim", "TestSimulation"}
	parts      = []part{
		{"volume", []string{"../../internal/volume/bugs.go"}, 33, []suite{{"../../internal/volume", allOf(findersOfVolume)}}, findersOfVolume},
		{"replica", []string{"../../internal/replica/bugs.go"}, 22, []suite{{"../../internal/replica", "."}, simulation}, nil},
		{"cluster", []string{"../../internal/cluster/bugs.go"}, 6, []suite{{"../../internal/cluster", allOf(findersOfCluster)}}, findersOfCluster},
		{"sim", []string{"../../internal/replica/sim/bugs_test.go"}, 12, []suite{simulation}, nil},
		{
			"streams", []string{"../../internal/replica/stream/bugs.go", "../../internal/replica/receiver/bugs.go"}, 7,
			[]suite{{"../../internal/replica/stream", allOf(findersOfStreams)}}, findersOfStreams,
		},
	}
)

// TestSeededBugsAreFound runs the tests of each part once for every bug that it names,
// and once without any. Each package is built once: which bug it has is said when it runs.
func TestSeededBugsAreFound(t *testing.T) {
	binaries := map[string]string{}
	clean := map[suite]bool{}
	for _, p := range parts {
		for _, s := range p.tests {
			if clean[s] {
				continue
			}
			clean[s] = true
			if binaries[s.dir] == "" {
				binaries[s.dir] = build(t, s)
			}
			t.Run(path.Base(s.dir)+" without a bug", func(t *testing.T) {
				t.Parallel()
				if out, err := runWith(t, binaries[s.dir], s, ""); err != nil {
					t.Fatalf("the tests fail: %v\n%s", err, out)
				}
			})
		}
		for _, bug := range bugs(t, p) {
			t.Run(p.name+" "+bug, func(t *testing.T) {
				t.Parallel()
				find(t, p, binaries, bug)
			})
		}
	}
}

// find wants that some test of a part finds a bug.
func find(t *testing.T, p part, binaries map[string]string, bug string) {
	t.Helper()
	for _, s := range p.tests {
		if tests, ok := p.finders[bug]; ok {
			s.run = exactly(tests)
		} else if p.finders != nil {
			t.Fatalf("nobody says which test finds %q", bug)
		}
		if _, err := runWith(t, binaries[s.dir], s, bug); err != nil {
			return
		}
	}
	t.Errorf("no test found the bug %q", bug)
}

// exactly is a pattern of these tests, and no others whose names begin so.
func exactly(tests string) string { return "^(" + tests + ")$" }

func allOf(finders map[string]string) string {
	return exactly(strings.Join(slices.Sorted(maps.Values(finders)), "|"))
}

func build(t *testing.T, s suite) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), path.Base(s.dir)+".test")
	build := exec.Command("go", "test", "-c", "-tags", "seededbugs", "-o", binary, s.dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func runWith(t *testing.T, binary string, s suite, bug string) ([]byte, error) {
	cmd := exec.CommandContext(t.Context(), binary, "-test.short", "-test.timeout", "400s", "-test.failfast", "-test.run", s.run)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "BALLAST_SEEDED_BUG="+bug)
	return cmd.CombinedOutput()
}

// bugs reads their names from the code, so that none can be forgotten here.
func bugs(t *testing.T, p part) (names []string) {
	t.Helper()
	for _, file := range p.bugs {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`bug = "([a-z-]+)"`).FindAllSubmatch(code, -1) {
			names = append(names, string(m[1]))
		}
	}
	if len(names) < p.least {
		t.Fatalf("found %d bugs in %v; want at least %d", len(names), p.bugs, p.least)
	}
	return names
}
