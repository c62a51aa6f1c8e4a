package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
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
	for i := range 3 {
		m.overwrite(filesystem(t, m.data, fmt.Sprintf("snapshot %d", i)))
		m.ship()
		m.base(true, "before-upgrade")
		images = append(images, bytes.Clone(m.data))
		m.grow()
	}
	run := restic(t, filepath.Join(dir, "repo"), emptyPassword)
	if out := run("check", "--read-data"); !strings.Contains(out, "no errors were found") {
		t.Errorf("check says:\n%s", out)
	}
	if out := run("snapshots", "--tag", "before-upgrade", "--path", "/ballast/"+m.name); !strings.Contains(out, "3 snapshots") {
		t.Errorf("snapshots says:\n%s", out)
	}
	for i, want := range images {
		to := t.TempDir()
		run("restore", m.bases[i].Snapshot.String(), "--target", to)
		image := filepath.Join(t.TempDir(), "volume.img")
		shell(t, "cat "+to+"/image/*/* > "+image)
		if got, err := os.ReadFile(image); err != nil || !bytes.Equal(got, want) {
			t.Errorf("snapshot %d: the pieces make %d bytes that are not the volume's %d; %v", i, len(got), len(want), err)
		}
		if os.Getuid() == 0 {
			if got := mounted(t, image); got != fmt.Sprintf("snapshot %d", i) {
				t.Errorf("snapshot %d: its file says %q", i, got)
			}
		}
		manifest, err := os.ReadFile(filepath.Join(to, manifestName))
		if err != nil || !strings.Contains(string(manifest), m.name) {
			t.Errorf("snapshot %d: manifest = %q, %v", i, manifest, err)
		}
	}
}

// filesystem returns an ext4 as large as data, with a file that says something.
func filesystem(t *testing.T, data []byte, says string) []byte {
	t.Helper()
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(says), 0o600); err != nil {
		t.Fatal(err)
	}
	shell(t, fmt.Sprintf("truncate -s %d %s && mkfs.ext4 -q -d %s %s", len(data), image, dir, image))
	made, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// mounted returns what the file says in an image that is mounted as the page tells.
func mounted(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "mount", "-o", "loop,ro", image, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("this machine mounts no images: %v: %s", err, out)
	}
	defer shell(t, "umount "+dir)
	says, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil {
		t.Error(err)
	}
	return string(says)
}

// overwrite writes what differs from data.
func (m *model) overwrite(data []byte) {
	for i := 0; i < len(data); i += ballast.BlockSize {
		if block := data[i : i+ballast.BlockSize]; !bytes.Equal(m.data[i:i+ballast.BlockSize], block) {
			m.touch(i/ballast.BlockSize, 1, false)
			copy(m.data[i:], block)
		}
	}
}

// restic returns stock restic on a repository.
func restic(t *testing.T, repo, password string) func(args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) string {
		t.Helper()
		args = append([]string{"-r", repo, "--password-file", file, "--no-cache"}, args...)
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
