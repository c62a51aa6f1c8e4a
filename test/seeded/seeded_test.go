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
	bugs  string // the file that names them
	least int    // so many there are at least
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
		{"volume", "../../internal/volume/bugs.go", 6, []suite{{"../../internal/volume", allOf(findersOfVolume)}}, findersOfVolume},
		{"replica", "../../internal/replica/bugs.go", 18, []suite{{"../../internal/replica", "."}, simulation}, nil},
		{"sim", "../../internal/replica/sim/bugs_test.go", 11, []suite{simulation}, nil},
	}
)

// TestSeededBugsAreFound runs the tests of each part once for every bug that it names,
// and once without any.
func TestSeededBugsAreFound(t *testing.T) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			var binaries []string
			for _, s := range p.tests {
				binaries = append(binaries, build(t, s))
			}
			for i, s := range p.tests {
				if out, err := runWith(t, binaries[i], s, ""); err != nil {
					t.Fatalf("without a bug the tests fail: %v\n%s", err, out)
				}
			}
			for _, bug := range bugs(t, p) {
				t.Run(bug, func(t *testing.T) {
					for i, s := range p.tests {
						if tests, ok := p.finders[bug]; ok {
							s.run = exactly(tests)
						} else if p.finders != nil {
							t.Fatalf("nobody says which test finds %q", bug)
						}
						if _, err := runWith(t, binaries[i], s, bug); err != nil {
							return
						}
					}
					t.Errorf("no test found the bug %q", bug)
				})
			}
		})
	}
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
	code, err := os.ReadFile(p.bugs)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`bug = "([a-z-]+)"`).FindAllSubmatch(code, -1) {
		names = append(names, string(m[1]))
	}
	if len(names) < p.least {
		t.Fatalf("found %d bugs in %s; want at least %d", len(names), p.bugs, p.least)
	}
	return names
}
