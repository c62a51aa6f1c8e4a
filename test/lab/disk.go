package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// data is the agent's folder, as the machine sees it.
func (m *Machine) data() string { return m.Path("ballast") }

// makeDisk gives the machine a disk of its own for the agent's folder, where it was
// asked for: a sparse file with XFS on it, whose files can be cloned in no time, and which
// can be ended like a disk that loses power.
func (m *Machine) makeDisk(ctx context.Context) error {
	if m.opts.Disk == 0 {
		return nil
	}
	image := m.Path("disk.img")
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(m.opts.Disk), f.Close(), os.Mkdir(m.data(), 0o700)); err != nil {
		return err
	}
	_, err = m.Output(ctx, "mkfs.xfs", "-q", "-m", "reflink=1", image)
	return err
}

func (m *Machine) mountDisk(ctx context.Context) error {
	if m.opts.Disk == 0 {
		return nil
	}
	_, err := m.Output(ctx, "mount", "-o", "loop", m.Path("disk.img"), m.data())
	return err
}

// Outside is where the host finds a file of the machine, as long as it runs.
func (m *Machine) Outside(path string) string { return filepath.Join(m.Root(), path) }

// FillDisk leaves free bytes on the disk that holds the agent's folder, which must be the
// machine's own ([Options.Disk]), until FreeDisk.
func (m *Machine) FillDisk(free int64) error {
	if err := m.fillDisk(free); err != nil {
		return fmt.Errorf("fill the disk of lab machine in %s: %w", m.Dir, err)
	}
	return nil
}

func (m *Machine) fillDisk(free int64) error {
	if m.opts.Disk == 0 {
		return errors.New("it has no disk of its own, and the host's is not ours to fill")
	}
	var room unix.Statfs_t
	if err := unix.Statfs(m.Outside(m.data()), &room); err != nil {
		return err
	}
	size := int64(room.Bavail)*room.Bsize - free
	if size <= 0 {
		return nil // it is as full as that
	}
	f, err := os.OpenFile(m.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(take(int(f.Fd()), size), f.Close())
}

// take has a file take up to size bytes: what the filesystem needs for itself, nobody knows.
func take(fd int, size int64) error {
	const block = 4096
	for off, step := int64(0), size; off < size && step >= block; {
		err := unix.Fallocate(fd, 0, off, min(step, size-off))
		switch {
		case err == nil:
			off += step
		case errors.Is(err, unix.ENOSPC):
			step /= 2
		default:
			return err
		}
	}
	return nil
}

// FreeDisk gives the room back that FillDisk took, for good: a power cut does not take it again.
func (m *Machine) FreeDisk() error {
	err := os.Remove(m.filler())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(m.Outside(m.data()))
	}
	if err != nil {
		return fmt.Errorf("free the disk of lab machine in %s: %w", m.Dir, err)
	}
	return nil
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (m *Machine) filler() string { return m.Outside(filepath.Join(m.data(), "filler")) }
