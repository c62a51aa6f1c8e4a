package device

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// Grow makes an attached, mounted device and its filesystem as large as the store
// has become, which is size bytes, while it is in use. It may be repeated.
func Grow(ctx context.Context, deviceFile string, size int64) error {
	if err := grow(ctx, deviceFile, size); err != nil {
		return fmt.Errorf("grow device of %s to %d MiB: %w; what is mounted works on with the size it has", deviceFile, size>>20, err)
	}
	return nil
}

func grow(ctx context.Context, deviceFile string, size int64) error {
	at, err := Find(deviceFile)
	if err != nil {
		return err
	}
	s, err := locate(deviceFile)
	if err != nil {
		return err
	}
	l, bound, err := s.loop()
	if err != nil || !bound || at.Mountpoint == "" {
		return fmt.Errorf("not mounted: %w", ballast.ErrNotFound)
	}
	if err := s.do(ctx, func() error { return growLoop(s.dir, l, size) }); err != nil {
		return err
	}
	if at.Filesystem == ballast.XFS {
		_, err = s.command(ctx, "xfs_growfs", "-d", at.Mountpoint)
		return err
	}
	if _, err = s.command(ctx, "resize2fs", l.path()); err != nil {
		err = fmt.Errorf("%w; ext4 grows while mounted only for a process with CAP_SYS_RESOURCE", err)
	}
	return err
}

func growLoop(dir string, l loop, size int64) error {
	if err := growFile(filepath.Join(dir, FileName), size); err != nil {
		return err
	}
	if err := l.resize(); err != nil {
		return err
	}
	got, err := l.size()
	if err == nil && got != size {
		err = fmt.Errorf("%s has %d bytes, not %d", l.path(), got, size)
	}
	return err
}

// growFile tells the kernel the size that the store has. By stat it would learn it
// too, but not while writes are under way: then it drops what it was told, and
// reads beyond the old end return nothing. After fallocate it must believe it.
func growFile(path string, size int64) error {
	f, err := openServed(path)
	if err != nil {
		return err
	}
	defer f.Close() // nothing was written
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return fmt.Errorf("extend %s: %w", path, err)
	}
	return nil
}
