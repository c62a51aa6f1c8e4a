package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
)

// makeReady makes dir and the folders above it, for good, and sweeps it. A folder that
// is there already is synced as well: whoever made it may not have come to that.
func (f *folder) makeReady(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ready[dir] {
		return nil
	}
	for at := range upwards(dir) {
		if err := f.disk.Mkdir(at); err != nil {
			return err
		}
		if err := f.disk.SyncDir(path.Dir(at)); err != nil {
			return err
		}
	}
	if err := f.sweep(dir); err != nil {
		return err
	}
	f.ready[dir] = true
	return nil
}

// upwards returns the folders on the way to dir, from the top, which is not one of them.
func upwards(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, c := range dir + "/" {
			if c == '/' && dir != "." && !yield(dir[:i]) {
				return
			}
		}
	}
}

// forget makes the next write to dir look whether it is there.
func (f *folder) forget(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ready, dir)
}

// sweep removes the files that a crash left in dir.
func (f *folder) sweep(dir string) error {
	names, err := f.disk.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) || strings.HasPrefix(name, f.own) {
			continue
		}
		if err := f.disk.Remove(path.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// List implements [Store].
func (f *folder) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		err := checkPrefix(prefix)
		if err == nil {
			err = f.walk(ctx, path.Dir(prefix+"x"), prefix, func(o Object) bool { return yield(o, nil) })
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Object{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

// errStopped ends a walk whose caller has seen enough.
var errStopped = errors.New("stopped")

// entry is what a folder holds.
type entry struct {
	Object
	isDir bool
}

// order is what an entry is sorted by: what is in a folder comes where its slash does.
func (e entry) order() string {
	if e.isDir {
		return e.Name + "/"
	}
	return e.Name
}

// walk visits the objects below dir whose names begin with prefix, in order.
func (f *folder) walk(ctx context.Context, dir, prefix string, visit func(Object) bool) error {
	entries, err := f.entries(ctx, dir, prefix)
	for _, e := range entries {
		switch {
		case e.isDir:
			err = f.walk(ctx, e.Name, prefix, visit)
		case !visit(e.Object):
			err = errStopped
		}
		if err != nil {
			return err
		}
	}
	return err
}

// entries returns what is in dir and can have a part in a listing of prefix. A folder
// that is not there is empty.
func (f *folder) entries(ctx context.Context, dir, prefix string) ([]entry, error) {
	names, err := f.disk.List(dir)
	if err != nil && !isAbsent(err) {
		return nil, err
	}
	var all []entry
	for _, base := range names {
		name := path.Join(dir, base)
		if !isName(name) || !strings.HasPrefix(name, prefix) {
			continue
		}
		e, err := f.look(ctx, name)
		if err != nil && !isAbsent(err) {
			return nil, err
		}
		if err == nil { // else it was removed since
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.order(), b.order()) })
	return all, nil
}

// look says what name is.
func (f *folder) look(ctx context.Context, name string) (e entry, err error) {
	if err := ctx.Err(); err != nil {
		return entry{}, err
	}
	e.Name = name
	file, err := f.disk.Open(name)
	if isAbsent(err) {
		e.isDir = true
		_, err = f.disk.List(name)
		return e, err
	}
	if err != nil {
		return entry{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	e.Size, err = file.Size()
	return e, err
}
