package archiver

import (
	"os"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/vfs"
)

// newSite makes an empty archive, whose key is cheap to derive, and returns its folder.
func newSite(t *testing.T) (dir string, st store.Store) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../archive/testdata/empty")); err != nil {
		t.Fatal(err)
	}
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return dir, store.NewFolder(disk)
}

// conditions is a [Health] of one volume, or of the node.
type conditions map[string]bool

func (c conditions) Raise(_ ballast.VolumeID, code, _, _ string) { c[code] = true }
func (c conditions) Clear(_ ballast.VolumeID, codes ...string) {
	for _, code := range codes {
		delete(c, code)
	}
}

// silence is a [Quiet] that says nothing.
type silence struct{}

func (silence) Warn(string, string, ...any) {}
func (silence) Over(string)                 {}
