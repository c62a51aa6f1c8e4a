// Package seeded proves the harness: it builds the tests of the parts that data can be
// lost by with mistakes in the code that others made in theirs, and wants every one of
// them found.
package seeded

import (
	"bytes"
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

	finders map[string]string // the tests that find each bug
}

// suite is some tests of a package.
type suite struct {
	dir string
	run string
}

var (
	simulation = suite{"../../internal/replica/sim", "TestSimulation"}
	parts      = []part{
		partOf("volume", "internal/volume", 36, findersOfVolume),
		{"replica", []string{"../../internal/replica/bugs.go"}, 22, []suite{{"../../internal/replica", allOf(findersOfReplica)}, simulation}, findersOfReplica},
		partOf("cluster", "internal/cluster", 6, findersOfCluster),
		{"sim", []string{"../../internal/replica/sim/bugs_test.go"}, 13, []suite{simulation}, findersOfSimulation},
		{
			"streams", []string{"../../internal/replica/stream/bugs.go", "../../internal/replica/receiver/bugs.go"}, 8,
			[]suite{{"../../internal/replica/stream", allOf(findersOfStreams)}}, findersOfStreams,
		},
		partOf("engine", "internal/engine", 3, findersOfEngine),
		partOf("repository", "internal/archive/repository", 6, findersOfRepository),
		partOf("tail", "internal/archive/tail", 6, findersOfTail),
		partOf("archive", "internal/archive", 1, findersOfArchive),
	}
)

// partOf is a package whose own tests find its bugs.
func partOf(name, dir string, least int, finders map[string]string) part {
	dir = "../../" + dir
	return part{name, []string{dir + "/bugs.go"}, least, []suite{{dir, allOf(finders)}}, finders}
}

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
		tests, ok := p.finders[bug]
		if !ok {
			t.Fatalf("nobody says which test finds %q", bug)
		}
		s.run = exactly(tests)
		out, err := runWith(t, binaries[s.dir], s, bug)
		if bytes.Contains(out, []byte("panic: test timed out")) {
			t.Errorf("the bug %q hangs %s: a test that finds it has a deadline of its own, and says what did not come", bug, tests)
		}
		if err != nil {
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
