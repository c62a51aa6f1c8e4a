package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// tempPrefix begins the name of a file that is being written. No object's name does.
const tempPrefix = ".tmp-"

// writeAttempts bounds how often a write begins anew because another process
// swept its file away.
const writeAttempts = 4

// NewFolder returns the store that keeps each object in a file of disk.
//
// An object is written to a file of its own, synced, and then given its name: by a
// rename, or for Create by a link, which the disk refuses when there is one already,
// whoever made it (O2). A claim file or a lock would do the same only while nobody
// crashes holding it. What a crash leaves of a file is removed by whoever first writes
// to that folder next; should it be the file of a process that lives, that one finds
// it gone and begins anew.
func NewFolder(disk vfs.FS) Store {
	return &folder{disk: disk, own: tempPrefix + strings.ToLower(rand.Text()) + "-", ready: map[string]bool{}}
}

type folder struct {
	disk vfs.FS
	own  string        // begins the names of this store's temporary files, and of nobody else's
	next atomic.Uint64 // the number of the next one

	mu    sync.Mutex      // guards everything below
	ready map[string]bool // folders that are there for good, and swept
}

// Put implements [Store].
func (f *folder) Put(ctx context.Context, name string, data []byte) error {
	if err := f.write(ctx, name, data, f.disk.Rename); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

// Create implements [Store].
func (f *folder) Create(ctx context.Context, name string, data []byte) error {
	err := f.write(ctx, name, data, f.disk.Link)
	switch {
	case errors.Is(err, fs.ErrExist):
		// What is there may be of a Create that did not come to its end: that it
		// is there must be as sure as if this one had made it.
		if err := f.disk.SyncDir(path.Dir(name)); err != nil {
			return fmt.Errorf("create %s: it is there, but perhaps not for good: %w", name, err)
		}
		return fmt.Errorf("create %s: %w", name, ballast.ErrExists)
	case err != nil:
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

// write brings data to a file and lets place give it the object's name.
func (f *folder) write(ctx context.Context, name string, data []byte, place func(temp, name string) error) error {
	err := checkData(name, data)
	for n := 0; err == nil && n < writeAttempts; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := f.writeOnce(name, data, place)
		if !errors.Is(err, fs.ErrNotExist) || n == writeAttempts-1 {
			return err
		}
		f.forget(path.Dir(name))
	}
	return err
}

func (f *folder) writeOnce(name string, data []byte, place func(temp, name string) error) error {
	dir := path.Dir(name)
	if err := f.makeReady(dir); err != nil {
		return err
	}
	temp := path.Join(dir, fmt.Sprintf("%s%d", f.own, f.next.Add(1)))
	defer f.disk.Remove(temp) // gone after a rename; else the next process sweeps it
	if err := writeSynced(f.disk, temp, data); err != nil {
		return err
	}
	if err := place(temp, name); err != nil {
		return err
	}
	return f.disk.SyncDir(dir)
}

func writeSynced(disk vfs.FS, name string, data []byte) (err error) {
	file, err := disk.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteAt(data, 0); err != nil {
		return err
	}
	return file.Sync()
}

// Get implements [Store].
func (f *folder) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	err := errors.Join(ctx.Err(), checkRange(name, off, n))
	if err != nil {
		return nil, err
	}
	data, err := f.read(name, off, n)
	switch {
	case isAbsent(err):
		return nil, fmt.Errorf("get %s: %w", name, ballast.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

func (f *folder) read(name string, off, n int64) (_ []byte, err error) {
	file, err := f.disk.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if n, err = within(off, n, size); err != nil {
		return nil, err
	}
	data := make([]byte, n)
	if got, err := file.ReadAt(data, off); int64(got) < n {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return data, nil
}

// within returns how many bytes n from off on are of an object of size bytes.
func within(off, n, size int64) (int64, error) {
	if n < 0 {
		n = size - off
	}
	switch {
	case n < 0 || off+n > size, n == 0 && off > 0:
		return 0, fmt.Errorf("it has %d bytes, and more from %d on were asked for: %w", size, off, io.ErrUnexpectedEOF)
	case n > MaxSize:
		return 0, fmt.Errorf("it has %d bytes, more than the %d it can have", size, MaxSize)
	}
	return n, nil
}

// Delete implements [Store]. What is gone stays gone after a power cut, because
// those who delete rely on the order.
func (f *folder) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), checkName(name)); err != nil {
		return err
	}
	err := f.disk.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = f.disk.SyncDir(path.Dir(name))
	}
	if err != nil && !isAbsent(err) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// Close implements [Store].
func (*folder) Close() error { return nil }

// isAbsent says whether err means that there is no file: nothing at all, a folder,
// or something else where a folder would be.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR)
}
