package repository

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// memory is a store in memory that can fail from its n-th call on.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	calls   int
	// fail is asked before every call; an error is what the call returns. Where
	// done is true the call has done its work all the same.
	fail func(n int, op, name string) (err error, done bool)
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}} }

func (m *memory) call(ctx context.Context, op, name string, work func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.fail != nil {
		if err, done := m.fail(m.calls, op, name); err != nil {
			if done {
				_ = work() // the caller is told that it failed
			}
			return fmt.Errorf("%s %s: %w", op, name, err)
		}
	}
	return work()
}

func (m *memory) Put(ctx context.Context, name string, data []byte) error {
	return m.call(ctx, "put", name, func() error {
		m.objects[name] = slices.Clone(data)
		return nil
	})
}

func (m *memory) Create(ctx context.Context, name string, data []byte) error {
	return m.call(ctx, "create", name, func() error {
		if _, there := m.objects[name]; there {
			return fmt.Errorf("%s: %w", name, ballast.ErrExists)
		}
		m.objects[name] = slices.Clone(data)
		return nil
	})
}

func (m *memory) Get(ctx context.Context, name string, off, n int64) (data []byte, err error) {
	err = m.call(ctx, "get", name, func() error {
		all, there := m.objects[name]
		if !there {
			return fmt.Errorf("%s: %w", name, ballast.ErrNotFound)
		}
		if n < 0 {
			n = int64(len(all)) - off
		}
		if off < 0 || n < 0 || off+n > int64(len(all)) {
			return fmt.Errorf("get %s: %d bytes from %d on of %d: %w", name, n, off, len(all), io.ErrUnexpectedEOF)
		}
		data = slices.Clone(all[off : off+n])
		return nil
	})
	return data, err
}

func (m *memory) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		var found []store.Object
		if err := m.call(ctx, "list", prefix, func() error {
			for _, name := range slices.Sorted(maps.Keys(m.objects)) {
				if strings.HasPrefix(name, prefix) {
					found = append(found, store.Object{Name: name, Size: int64(len(m.objects[name]))})
				}
			}
			return nil
		}); err != nil {
			yield(store.Object{}, err)
			return
		}
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (m *memory) Delete(ctx context.Context, name string) error {
	return m.call(ctx, "delete", name, func() error {
		delete(m.objects, name)
		return nil
	})
}

func (m *memory) Close() error { return nil }

// clone is what is durable, in a store that does not fail.
func (m *memory) clone() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{objects: maps.Clone(m.objects)}
}

// names of the objects below a prefix.
func (m *memory) names(prefix string) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// dump writes the repository as a folder that stock restic reads, and returns it.
func (m *memory) dump(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"data", "index", "keys", "locks", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(dir, "repo", folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range m.clone().objects {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "repo")
}

// read takes in a folder that stock restic wrote.
func (m *memory) read(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		m.objects[root+filepath.ToSlash(name)] = data
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
