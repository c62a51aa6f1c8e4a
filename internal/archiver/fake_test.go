package archiver

import (
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/vfs"
)

// newSite makes an empty archive, and returns its folder.
func newSite(t *testing.T) (dir string, st store.Store) {
	t.Helper()
	dir = t.TempDir()
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	st = store.NewFolder(disk)
	if _, err := repository.Init(t.Context(), st, []byte("of the tests"), repository.Host{Name: "n1", User: "root"}); err != nil {
		t.Fatal(err)
	}
	return dir, st
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
