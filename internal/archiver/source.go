package archiver

import (
	"context"
	"fmt"
	"sync"

	"github.com/ballast-io/ballast"
)

// maxFetches bounds the chunks of all volumes that are fetched at once, and with it
// the memory.
const maxFetches = 16

// chunkSource is an [archive.Source].
type chunkSource interface {
	Fetch(ctx context.Context, chunk int, p []byte) error
	Size() int64
}

// Sources are where hydrating volumes are filled from, each opened when it is first
// asked for.
type Sources struct {
	node   Node
	vault  *Vault
	open   func(ctx context.Context, id ballast.VolumeID) (chunkSource, func(), error)
	turns  chan struct{} // one for each fetch under way
	mu     sync.Mutex    // guards byID
	byID   map[ballast.VolumeID]*source
	buffer sync.Pool
}

// source is one of them; its lock is held while it is opened.
type source struct {
	mu     sync.RWMutex // held for reading by a fetch, so that nothing is closed under it
	opened chunkSource  // nil until it is open
	close  func()
	gone   bool
}

// NewSources returns the sources of a node's volumes.
func NewSources(node Node, vault *Vault) *Sources {
	s := newSources(nil)
	s.node, s.vault = node, vault
	s.open = s.openSource
	return s
}

func newSources(open func(context.Context, ballast.VolumeID) (chunkSource, func(), error)) *Sources {
	return &Sources{
		open: open, turns: make(chan struct{}, maxFetches), byID: map[ballast.VolumeID]*source{},
		buffer: sync.Pool{New: func() any { b := make([]byte, ballast.ChunkSize); return &b }},
	}
}

// Fetch passes a verified chunk of a volume to use.
func (s *Sources) Fetch(ctx context.Context, id ballast.VolumeID, chunk int, use func([]byte)) error {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	src, err := s.get(ctx, id)
	if err != nil {
		return err
	}
	defer src.mu.RUnlock()
	p := s.buffer.Get().(*[]byte)
	defer s.buffer.Put(p)
	if err := src.opened.Fetch(ctx, chunk, *p); err != nil {
		return err
	}
	use(*p)
	return nil
}

// get returns an open source, locked for reading.
func (s *Sources) get(ctx context.Context, id ballast.VolumeID) (*source, error) {
	s.mu.Lock()
	src := s.byID[id]
	if src == nil {
		src = &source{}
		s.byID[id] = src
	}
	s.mu.Unlock()
	if err := src.ensure(ctx, id, s.open); err != nil {
		return nil, err
	}
	src.mu.RLock()
	if src.gone {
		src.mu.RUnlock()
		return nil, fmt.Errorf("nothing of volume %s is to be fetched any more: %w", id, ballast.ErrNotFound)
	}
	return src, nil
}

func (s *source) ensure(ctx context.Context, id ballast.VolumeID, open func(context.Context, ballast.VolumeID) (chunkSource, func(), error)) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil && !s.gone {
		s.opened, s.close, err = open(ctx, id)
	}
	return err
}

// Drop closes a volume's source: it has everything, or is being removed.
func (s *Sources) Drop(id ballast.VolumeID) {
	s.mu.Lock()
	src := s.byID[id]
	delete(s.byID, id)
	s.mu.Unlock()
	if src == nil {
		return
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	src.gone = true
	if src.close != nil {
		src.close()
	}
}

// DropAll closes all of them.
func (s *Sources) DropAll() {
	s.mu.Lock()
	var ids []ballast.VolumeID
	for id := range s.byID {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	for _, id := range ids {
		s.Drop(id)
	}
}
