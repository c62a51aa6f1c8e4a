package crashfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"

	"github.com/ballast-io/ballast/internal/vfs"
)

// FS is the disk. The zero value is not usable; see [New].
type FS struct {
	mu      sync.Mutex        // guards everything below
	names   map[string]*inode // what a process sees; a nil inode is a folder
	durable map[string]*inode // what SyncDir has made permanent
	pending []nameChange      // not yet durable, oldest first
	trace   []string          // kept only while tracing
	tracing bool
	ops     int // operations that change the disk, so far
	before  func(op int)
	fault   func(op int, kind string) error
}

// nameChange is one atomic change to the names in dir. It is kept as a function
// so that a rename, which touches two names, cannot be half applied.
type nameChange struct {
	dir   string
	apply func(names map[string]*inode)
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty disk.
func New() *FS {
	return &FS{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// BeforeEach calls hook before every operation that changes the disk, with the
// operation's number, counted from 0. The hook may call [FS.PowerCut].
func (f *FS) BeforeEach(hook func(op int)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = hook
}

// FailWith asks fault before every operation that changes the disk: an error
// makes that operation fail and do nothing, but for a write, of which a first
// part is done. The kinds are create, rename, link, remove, mkdir, syncdir, write,
// sync, truncate and punch.
func (f *FS) FailWith(fault func(op int, kind string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// KeepTrace starts to note every operation in words.
func (f *FS) KeepTrace() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tracing = true
}

// Trace returns the operations noted so far, in order, and forgets them.
func (f *FS) Trace() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.trace
	f.trace = nil
	return t
}

// begin announces an operation and takes f.mu, which the caller releases
// whatever is returned.
func (f *FS) begin(kind, format string, args ...any) error {
	f.mu.Lock()
	op, hook := f.ops, f.before
	f.ops++
	if hook != nil {
		f.mu.Unlock()
		hook(op)
		f.mu.Lock()
	}
	if f.tracing {
		f.trace = append(f.trace, kind+" "+fmt.Sprintf(format, args...))
	}
	if f.fault != nil {
		return f.fault(op, kind)
	}
	return nil
}

// changeNames queues a change of names in dir and applies it to the process's view.
func (f *FS) changeNames(dir string, apply func(map[string]*inode)) {
	apply(f.names)
	f.pending = append(f.pending, nameChange{dir, apply})
}

// Create implements [vfs.FS].
func (f *FS) Create(name string) (vfs.File, error) {
	err := f.begin("create", "%s", name)
	defer f.mu.Unlock()
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	if _, ok := f.names[name]; ok {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	n := new(inode)
	f.changeNames(path.Dir(name), func(m map[string]*inode) { m[name] = n })
	return &file{f, name, n}, nil
}

// Open implements [vfs.FS].
func (f *FS) Open(name string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{f, name, n}, nil
}

// Rename implements [vfs.FS].
func (f *FS) Rename(oldname, newname string) error {
	err := f.begin("rename", "%s %s", oldname, newname)
	defer f.mu.Unlock()
	n := f.names[oldname]
	if n == nil {
		err = errors.Join(err, fs.ErrNotExist)
	}
	if err != nil {
		return &fs.PathError{Op: "rename", Path: oldname, Err: err}
	}
	f.changeNames(path.Dir(newname), func(m map[string]*inode) {
		delete(m, oldname)
		m[newname] = n
	})
	return nil
}

// Link implements [vfs.FS].
func (f *FS) Link(oldname, newname string) error {
	err := f.begin("link", "%s %s", oldname, newname)
	defer f.mu.Unlock()
	n := f.names[oldname]
	switch _, taken := f.names[newname]; {
	case err != nil: // it did not come to look
	case n == nil:
		err = fs.ErrNotExist
	case taken:
		err = fs.ErrExist
	}
	if err != nil {
		return &fs.PathError{Op: "link", Path: newname, Err: err}
	}
	f.changeNames(path.Dir(newname), func(m map[string]*inode) { m[newname] = n })
	return nil
}

// Remove implements [vfs.FS].
func (f *FS) Remove(name string) error {
	err := f.begin("remove", "%s", name)
	defer f.mu.Unlock()
	if _, ok := f.names[name]; !ok {
		err = errors.Join(err, fs.ErrNotExist)
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	f.changeNames(path.Dir(name), func(m map[string]*inode) { delete(m, name) })
	return nil
}

// Mkdir implements [vfs.FS].
func (f *FS) Mkdir(name string) error {
	err := f.begin("mkdir", "%s", name)
	defer f.mu.Unlock()
	if _, ok := f.names[name]; ok || err != nil {
		return err
	}
	f.changeNames(path.Dir(name), func(m map[string]*inode) { m[name] = nil })
	return nil
}

// List implements [vfs.FS].
func (f *FS) List(dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.names[dir]; !ok && dir != "." {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
	}
	var names []string
	for name := range f.names {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements [vfs.FS].
func (f *FS) SyncDir(dir string) error {
	err := f.begin("syncdir", "%s", dir)
	defer f.mu.Unlock()
	if err != nil {
		return &fs.PathError{Op: "syncdir", Path: dir, Err: err}
	}
	f.pending = slices.DeleteFunc(f.pending, func(ch nameChange) bool {
		if ch.dir == dir {
			ch.apply(f.durable)
		}
		return ch.dir == dir
	})
	return nil
}

// PowerCut returns the disk that a machine might find when the power is back.
// The disk itself goes on as if nothing had happened.
func (f *FS) PowerCut(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := maps.Clone(f.durable)
	for _, ch := range f.pending {
		if rng.IntN(2) == 0 {
			ch.apply(names)
		}
	}
	after := New()
	for _, name := range slices.Sorted(maps.Keys(names)) { // sorted: one seed, one outcome
		var n *inode
		if names[name] != nil {
			c := names[name].survive(rng)
			n = &inode{seen: c, durable: c.clone()}
		}
		after.names[name], after.durable[name] = n, n
	}
	return after
}
