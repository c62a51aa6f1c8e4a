package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	sourceVersion = 1
	sourceFile    = "source.json" // where the chunks come from that are not here yet
	scratchFile   = "source.scratch"
	maxSourceFile = 64 << 20

	// maxFetches bounds the chunks of all volumes that are fetched at once, and with it
	// the memory.
	maxFetches = 16
)

// storedSource is what a hydrating volume is to be filled from. It outlives the agent.
type storedSource struct {
	Version int           `json:"version"`
	Plan    *archive.Plan `json:"plan"`
}

func saveSource(disk vfs.FS, dir string, plan *archive.Plan) error {
	data, err := json.Marshal(storedSource{sourceVersion, plan})
	if err != nil {
		return fmt.Errorf("encode source: %w", err)
	}
	if len(data) > maxSourceFile {
		return fmt.Errorf("encode source: the plan has %d bytes, more than the %d it can have: take a base snapshot first: %w", len(data), maxSourceFile, ballast.ErrInvalid)
	}
	return vfs.ReplaceFile(disk, dir+"/"+sourceFile, data)
}

// loadSource returns where the volume in dir is filled from. It wraps [fs.ErrNotExist] when
// everything is there.
func loadSource(disk vfs.FS, dir string) (*archive.Plan, error) {
	data, err := vfs.ReadFile(disk, dir+"/"+sourceFile, maxSourceFile)
	if err != nil {
		return nil, err
	}
	var stored storedSource
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, fmt.Errorf("decode source: %w", err)
	}
	if stored.Version != sourceVersion || stored.Plan == nil {
		return nil, fmt.Errorf("decode source: it has format %d, this release reads %d", stored.Version, sourceVersion)
	}
	return stored.Plan, nil
}

// chunkSource is an [archive.Source].
type chunkSource interface {
	Fetch(ctx context.Context, chunk int, p []byte) error
	Size() int64
}

// sources are where hydrating volumes are filled from, each opened when it is first
// asked for.
type sources struct {
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

func newSources(open func(context.Context, ballast.VolumeID) (chunkSource, func(), error)) *sources {
	return &sources{
		open: open, turns: make(chan struct{}, maxFetches), byID: map[ballast.VolumeID]*source{},
		buffer: sync.Pool{New: func() any { b := make([]byte, ballast.ChunkSize); return &b }},
	}
}

// fetch passes a verified chunk of a volume to use.
func (s *sources) fetch(ctx context.Context, id ballast.VolumeID, chunk int, use func([]byte)) error {
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
func (s *sources) get(ctx context.Context, id ballast.VolumeID) (*source, error) {
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

// drop closes a volume's source: it has everything, or is being removed.
func (s *sources) drop(id ballast.VolumeID) {
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

func (s *sources) dropAll() {
	s.mu.Lock()
	var ids []ballast.VolumeID
	for id := range s.byID {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	for _, id := range ids {
		s.drop(id)
	}
}

// openSource opens what a volume of this node is filled from.
func (n *node) openSource(ctx context.Context, id ballast.VolumeID) (chunkSource, func(), error) {
	plan, err := loadSource(n.disk, volumeDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("volume %s is not filled from an archive: %w", id, ballast.ErrNotFound)
	}
	if err != nil {
		return nil, nil, err
	}
	o, err := n.vault.get()
	if err != nil {
		return nil, nil, err
	}
	scratch, err := os.OpenFile(n.path(volumeDir(id), scratchFile), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open source of volume %s: %w", id, err)
	}
	closeScratch := func() {
		_ = scratch.Close()           // a cache
		_ = os.Remove(scratch.Name()) // likewise
	}
	src, err := o.archive.Source(ctx, plan, scratch)
	if err != nil {
		closeScratch()
		return nil, nil, err
	}
	return src, closeScratch, nil
}

// serveChunk answers an engine that lacks a chunk: with its bytes; 503 and why while
// the archive cannot be asked; 500 when asking again is of no use.
func (n *node) serveChunk(w http.ResponseWriter, r *http.Request) {
	chunk, err := strconv.Atoi(r.PathValue("chunk"))
	if err != nil || chunk < 0 {
		http.Error(w, "no such chunk", http.StatusBadRequest)
		return
	}
	rec, err := n.records.ByID(ballast.VolumeID(r.PathValue("volume")))
	if err == nil {
		err = n.sources.fetch(r.Context(), rec.ID, chunk, func(p []byte) {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.Itoa(len(p)))
			_, _ = w.Write(p) // the engine has gone
			n.meters.fetchedBytes.Add(float64(len(p)))
		})
	}
	if err == nil {
		n.quiet.over("fetch " + string(rec.ID))
		return
	}
	if r.Context().Err() == nil {
		n.quiet.warn("fetch "+r.PathValue("volume"), "a chunk that a volume lacks was not fetched", "volume_id", rec.ID, "chunk", chunk, "error", err)
	}
	http.Error(w, err.Error(), fetchStatus(err))
}

// fetchStatus says whether asking again may help.
func fetchStatus(err error) int {
	var pack *repository.DamageError
	var object *tail.DamageError
	switch {
	case errors.As(err, &pack), errors.As(err, &object), errors.Is(err, ballast.ErrInvalid):
		return http.StatusInternalServerError
	case errors.Is(err, ballast.ErrNotFound):
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}

// forgetSource forgets what an attached volume was filled from, once it has everything.
// The caller has the slot's lock.
func (n *node) forgetSource(s *slot) {
	s.mu.Lock()
	st := s.status
	s.mu.Unlock()
	if st.TotalChunks == 0 || st.MissingChunks > 0 {
		return // not known, or not yet
	}
	n.sources.drop(s.id)
	err := n.disk.Remove(s.dir + "/" + sourceFile)
	if errors.Is(err, fs.ErrNotExist) {
		return // it was not restored, as a rule
	}
	if err == nil {
		err = n.disk.SyncDir(s.dir)
	}
	if err != nil {
		n.quiet.warn("source "+string(s.id), "where a volume was filled from is still noted, though it has everything", "volume_id", s.id, "error", err)
		return
	}
	n.health.clear(s.id, condHydration)
	n.log.Info("volume has everything that it was restored from", "volume", n.nameOf(s.id), "volume_id", s.id)
}
