// Package inmemory has the tests of a package keep their files in memory, where a sync costs nothing:
// for tests whose processes are killed and whose machine is not, so that nothing depends on a disk, and
// which would wait most of the time for one that others use.
package inmemory

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	shared = "/dev/shm"
	enough = 4 << 30 // bytes: several times what the tests of a package have at once
)

// Use has t.TempDir make its folders in memory from now on, where the machine has room. It is for
// TestMain, before any test runs.
func Use() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(shared, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Bavail*uint64(fs.Bsize) < enough { //nolint:gosec // a block's size is not negative
		return nil //nolint:nilerr // the disk does as well
	}
	return os.Setenv("TMPDIR", shared)
}
