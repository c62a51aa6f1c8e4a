package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// OS returns the folder root on the real disk. Nothing outside of it can be
// reached, by ".." or by a symbolic link. The caller must Close the result.
func OS(root string) (*Disk, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	return &Disk{r}, nil
}

// Disk is an [FS] on the real disk.
type Disk struct{ root *os.Root }

var _ FS = (*Disk)(nil)

// Close releases the folder. Files that are open stay usable.
func (d *Disk) Close() error { return d.root.Close() }

// Create implements [FS].
func (d *Disk) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open implements [FS].
func (d *Disk) Open(name string) (File, error) { return d.open(name, os.O_RDWR) }

func (d *Disk) open(name string, flag int) (File, error) {
	f, err := d.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &diskFile{f}, nil
}

// Rename implements [FS].
func (d *Disk) Rename(oldname, newname string) error { return d.root.Rename(oldname, newname) }

// Link implements [FS].
func (d *Disk) Link(oldname, newname string) error { return d.root.Link(oldname, newname) }

// Remove implements [FS].
func (d *Disk) Remove(name string) error { return d.root.Remove(name) }

// Mkdir implements [FS].
func (d *Disk) Mkdir(name string) error {
	if err := d.root.Mkdir(name, 0o700); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// List implements [FS].
func (d *Disk) List(dir string) ([]string, error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}

// SyncDir implements [FS].
func (d *Disk) SyncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// diskFile is a file of a [Disk]. ReadAt, WriteAt, Truncate and Close are
// those of [os.File].
type diskFile struct{ *os.File }

// Sync spares what fsync adds over fdatasync: the times of the file, which
// nobody reads and which would cost a commit of the disk's journal.
func (f *diskFile) Sync() error { return f.control("fdatasync", unix.Fdatasync) }

// startWriting is for [StartWriting]. Without a flag to wait, the call takes no error away from
// the fdatasync that follows.
func (f *diskFile) startWriting(off, n int64) {
	_ = f.control("write back", func(fd int) error { // see StartWriting
		return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}

// Punch asks again when a signal interrupts it; nothing was claimed then.
func (f *diskFile) Punch(off, n int64) error {
	for {
		err := f.control("punch", func(fd int) error {
			return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (f *diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Hole asks where the next data are, as far as the file's disk can tell.
func (f *diskFile) Hole(off, n int64) (bool, error) {
	var data int64
	err := f.control("seek", func(fd int) (err error) {
		data, err = unix.Seek(fd, off, unix.SEEK_DATA)
		return err
	})
	switch {
	case errors.Is(err, unix.ENXIO): // none from here on
		return true, nil
	case errors.Is(err, unix.EINVAL): // it cannot tell
		return false, nil
	}
	return err == nil && data >= off+n, err
}

func (f *diskFile) Allocated() (int64, error) {
	var st unix.Stat_t
	err := f.control("stat", func(fd int) error { return unix.Fstat(fd, &st) })
	return st.Blocks * 512, err
}

// control makes a system call on the file.
func (f *diskFile) control(op string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = call(int(fd)) })
	if failed != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: failed}
	}
	return err
}
