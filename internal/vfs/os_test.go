package vfs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/vfs/vfstest"
)

func disk(t *testing.T) vfs.FS {
	d, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDisk(t *testing.T) { vfstest.Run(t, disk) }

// TestDiskKeepsToItsFolder tries to get out by name and by link.
func TestDiskKeepsToItsFolder(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"inside", "secret"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(root, "inside", "link")); err != nil {
		t.Fatal(err)
	}
	d, err := vfs.OS(filepath.Join(root, "inside"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() // nothing was written
	for _, name := range []string{"../secret/f", "link/f", "/etc/hostname"} {
		if _, err := d.Create(name); err == nil {
			t.Errorf("Create(%q) = nil; want a refusal", name)
		}
		if _, err := d.Open(name); err == nil {
			t.Errorf("Open(%q) = nil; want a refusal", name)
		}
	}
}
