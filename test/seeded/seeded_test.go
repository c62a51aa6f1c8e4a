// Package seeded proves the harness: it builds the tests of the engine's heart
// with mistakes in the code that others made in theirs, and wants every one of
// them found.
package seeded

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestSeededBugsAreFound runs the crash and error tests once for every bug that
// bugs.go names, and once without any.
func TestSeededBugsAreFound(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "volume.test")
	build := exec.Command("go", "test", "-c", "-tags", "seededbugs", "-o", binary, "../../internal/volume")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if out, err := runWith(t, binary, ""); err != nil {
		t.Fatalf("without a bug the tests fail: %v\n%s", err, out)
	}
	for _, bug := range bugs(t) {
		t.Run(bug, func(t *testing.T) {
			if _, err := runWith(t, binary, bug); err == nil {
				t.Errorf("no test found the bug %q", bug)
			}
		})
	}
}

func runWith(t *testing.T, binary, bug string) ([]byte, error) {
	cmd := exec.CommandContext(t.Context(), binary, "-test.short", "-test.timeout", "400s", "-test.failfast", "-test.run", "TestPowerCut|TestFail|TestSnapshot|TestRebuild|TestStage|TestFollow|TestFold")
	cmd.Dir = "../../internal/volume"
	cmd.Env = append(os.Environ(), "BALLAST_SEEDED_BUG="+bug)
	return cmd.CombinedOutput()
}

// bugs reads their names from the code, so that none can be forgotten here.
func bugs(t *testing.T) (names []string) {
	code, err := os.ReadFile("../../internal/volume/bugs.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`bug = "([a-z-]+)"`).FindAllSubmatch(code, -1) {
		names = append(names, string(m[1]))
	}
	if len(names) < 6 {
		t.Fatalf("found %d bugs in bugs.go; want at least 6", len(names))
	}
	return names
}
