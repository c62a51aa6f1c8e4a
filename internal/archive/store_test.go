package archive

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// memory is a store in memory.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte // not changed in place
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}} }

func (m *memory) Put(ctx context.Context, name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = slices.Clone(data)
	return ctx.Err()
}

func (m *memory) Create(ctx context.Context, name string, data []byte) error {
	m.mu.Lock()
	_, there := m.objects[name]
	m.mu.Unlock()
	if there {
		return fmt.Errorf("create %s: %w", name, ballast.ErrExists)
	}
	return m.Put(ctx, name, data)
}

func (m *memory) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, there := m.objects[name]
	switch {
	case !there:
		return nil, fmt.Errorf("get %s: %w", name, ballast.ErrNotFound)
	case n < 0 && off <= int64(len(data)):
		n = int64(len(data)) - off
	case off+n > int64(len(data)):
		return nil, fmt.Errorf("get %s: it has %d bytes, not %d", name, len(data), off+n)
	}
	return slices.Clone(data[off : off+n]), ctx.Err()
}

func (m *memory) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for _, name := range m.names(prefix) {
			m.mu.Lock()
			data, there := m.objects[name]
			m.mu.Unlock()
			if there && !yield(store.Object{Name: name, Size: int64(len(data))}, ctx.Err()) {
				return
			}
		}
	}
}

func (m *memory) names(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.objects)), func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

func (m *memory) Delete(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return ctx.Err()
}

func (*memory) Close() error { return nil }

// clone returns a store of the same objects.
func (m *memory) clone() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{objects: maps.Clone(m.objects)}
}
