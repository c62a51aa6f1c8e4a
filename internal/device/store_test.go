package device

import (
	"sync"
	"sync/atomic"
)

// memory is a sparse store that counts.
type memory struct {
	size      atomic.Int64
	flushes   atomic.Int64
	discarded atomic.Int64
	writes    atomic.Int64
	written   atomic.Int64 // as it was told

	mu     sync.Mutex // guards everything below
	blocks map[int64]*[4096]byte
	fail   error // what writes and flushes return
}

func newMemory(size int64) *memory {
	m := &memory{blocks: make(map[int64]*[4096]byte)}
	m.size.Store(size)
	return m
}

func (m *memory) Size() int64 { return m.size.Load() }

func (m *memory) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 0; i < len(p); i += 4096 {
		if b := m.blocks[(off+int64(i))/4096]; b != nil {
			copy(p[i:], b[:])
		} else {
			clear(p[i : i+4096])
		}
	}
	return len(p), nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return 0, m.fail
	}
	m.writes.Add(1)
	for i := 0; i < len(p); i += 4096 {
		m.blocks[(off+int64(i))/4096] = (*[4096]byte)(append([]byte(nil), p[i:i+4096]...))
	}
	return len(p), nil
}

func (m *memory) Written() { m.written.Add(1) }

func (m *memory) Flush() error {
	m.flushes.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fail
}

func (m *memory) Discard(off, n int64) error {
	m.discarded.Add(n)
	m.mu.Lock()
	defer m.mu.Unlock()
	for b := range m.blocks {
		if b >= off/4096 && b < (off+n)/4096 {
			delete(m.blocks, b)
		}
	}
	return nil
}
