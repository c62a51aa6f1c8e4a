package crashfs

import (
	"io"
	"io/fs"
)

// file is an open file. It has no seek position.
type file struct {
	fs   *FS
	name string
	n    *inode
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= f.n.seen.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), f.n.seen.size-off)
	f.n.seen.readAt(p[:n], off)
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	err := f.fs.begin("write", "%s @%d+%d", f.name, off, len(p))
	defer f.fs.mu.Unlock()
	done := len(p)
	if err != nil {
		done = len(p) / 2 // a short write: some of it is there
		err = f.error("write", err)
	}
	if done > 0 {
		f.n.do(change{off: off, data: append([]byte(nil), p[:done]...), size: -1})
	}
	return done, err
}

func (f *file) Truncate(size int64) error {
	err := f.fs.begin("truncate", "%s %d", f.name, size)
	defer f.fs.mu.Unlock()
	if err != nil {
		return f.error("truncate", err)
	}
	f.n.do(change{size: size})
	return nil
}

func (f *file) Punch(off, n int64) error {
	err := f.fs.begin("punch", "%s @%d+%d", f.name, off, n)
	defer f.fs.mu.Unlock()
	if err != nil {
		return f.error("punch", err)
	}
	f.n.do(change{off: off, punch: n, size: -1})
	return nil
}

func (f *file) Sync() error {
	err := f.fs.begin("sync", "%s", f.name)
	defer f.fs.mu.Unlock()
	if err != nil {
		// As Linux does: the pages are taken for clean, and nobody will ever
		// write them again.
		f.n.pending = nil
		return f.error("sync", err)
	}
	f.n.sync()
	return nil
}

func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.n.seen.size, nil
}

func (f *file) Hole(off, n int64) (bool, error) {
	err := f.fs.begin("hole", "%s @%d+%d", f.name, off, n)
	defer f.fs.mu.Unlock()
	if err != nil {
		return false, f.error("hole", err)
	}
	for page := off / pageSize; page*pageSize < off+n; page++ {
		if f.n.seen.pages[page] != nil {
			return false, nil
		}
	}
	return true, nil
}

func (f *file) Allocated() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.n.seen.pages)) * pageSize, nil
}

// Close implements [io.Closer]. It syncs nothing.
func (f *file) Close() error { return nil }

func (f *file) error(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}
