package seeded

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestSeededBugsOfStreamsAreFound does the same for the two ends of replication, whose
// tests are those of the leader's.
func TestSeededBugsOfStreamsAreFound(t *testing.T) {
	const dir = "../../internal/replica/stream"
	binary := filepath.Join(t.TempDir(), "stream.test")
	build := exec.Command("go", "test", "-c", "-tags", "seededbugs", "-o", binary, dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := func(bug string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), binary, "-test.timeout", "180s", "-test.failfast")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "BALLAST_SEEDED_BUG="+bug)
		return cmd.CombinedOutput()
	}
	if out, err := run(""); err != nil {
		t.Fatalf("without a bug the tests fail: %v\n%s", err, out)
	}
	for _, name := range streamBugs(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := run(name); err == nil {
				t.Errorf("no test found the bug %q", name)
			}
		})
	}
}

func streamBugs(t *testing.T) (names []string) {
	for _, file := range []string{"stream/bugs.go", "receiver/bugs.go"} {
		code, err := os.ReadFile("../../internal/replica/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`bug = "([a-z-]+)"`).FindAllSubmatch(code, -1) {
			names = append(names, string(m[1]))
		}
	}
	if len(names) < 6 {
		t.Fatalf("found %d bugs; want at least 6", len(names))
	}
	return names
}
