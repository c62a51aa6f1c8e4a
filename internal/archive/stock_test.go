package archive

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/internal/archive/store"
)

// Without Ballast: stock restic checks, lists and restores what we wrote, and the
// pieces are the volume, as docs/operations/archive-without-ballast.md says.
func TestStockResticRestores(t *testing.T) {
	if _, err := exec.LookPath("restic"); err != nil {
		t.Skip("restic is not installed")
	}
	dir := t.TempDir()
	st, err := store.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	m := newModel(t, newArchive(t, st), 1, volumeID(1), 70) // two pieces
	m.open()
	var images [][]byte
	for range 3 {
		for range 30 {
			m.write(m.extent())
			m.discard(m.extent())
		}
		m.grow()
		m.ship()
		m.base(true, "before-upgrade")
		images = append(images, bytes.Clone(m.data))
	}
	run := restic(t, filepath.Join(dir, "repo"))
	if out := run("check", "--read-data"); !strings.Contains(out, "no errors were found") {
		t.Errorf("check says:\n%s", out)
	}
	if out := run("snapshots", "--tag", "before-upgrade", "--path", "/ballast/"+m.name); !strings.Contains(out, "3 snapshots") {
		t.Errorf("snapshots says:\n%s", out)
	}
	for i, want := range images {
		to := t.TempDir()
		run("restore", m.bases[i].Snapshot.String(), "--target", to)
		got := shell(t, "cat "+to+"/image/*/*")
		if !bytes.Equal([]byte(got), want) {
			t.Errorf("snapshot %d: the pieces make %d bytes that are not the volume's %d", i, len(got), len(want))
		}
		manifest, err := os.ReadFile(filepath.Join(to, manifestName))
		if err != nil || !strings.Contains(string(manifest), m.name) {
			t.Errorf("snapshot %d: manifest = %q, %v", i, manifest, err)
		}
	}
}

// restic returns stock restic on a repository.
func restic(t *testing.T, repo string) func(args ...string) string {
	t.Helper()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(testPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) string {
		t.Helper()
		args = append([]string{"-r", repo, "--password-file", password, "--no-cache"}, args...)
		return command(t, exec.CommandContext(t.Context(), "restic", args...))
	}
}

func shell(t *testing.T, script string) string {
	t.Helper()
	return command(t, exec.CommandContext(context.Background(), "sh", "-c", script))
}

// command runs a command and returns what it says.
func command(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, stderr)
	}
	return string(out)
}
