package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
)

// maxSavers bounds the chunks that are hashed, compressed and sealed at once.
const maxSavers = 8

// saver is what writing takes of a repository.
type saver interface {
	Save(ctx context.Context, t repository.Type, data []byte) (repository.ID, bool, error)
	Flush(ctx context.Context) error
	Close() error
}

// baseWriter writes the tree of a base, folder after folder.
type baseWriter struct {
	src    BaseSource
	info   SnapshotInfo
	out    saver
	below  below
	report func(Progress)

	next     int    // the chunk that src is at; -1: there is none any more
	data     []byte // of it
	free     chan []byte
	zero     repository.ID // of a chunk of zeros, once it is saved
	added    atomic.Int64  // bytes that the archive did not have
	unsynced int64         // bytes saved since the last flush
}

func newBaseWriter(repo *repository.Repository, src BaseSource, report func(Progress)) *baseWriter {
	w := &baseWriter{src: src, info: src.Info(), out: repo.NewWriter(), report: report, next: -1}
	w.free = make(chan []byte, min(maxSavers, 1+runtime.GOMAXPROCS(0)))
	for range cap(w.free) {
		w.free <- make([]byte, ballast.ChunkSize)
	}
	return w
}

// write stores everything but the snapshot, and returns the root.
func (w *baseWriter) write(ctx context.Context, m *manifest) (repository.ID, error) {
	if err := w.advance(ctx); err != nil {
		return repository.ID{}, err
	}
	image := repository.Tree{}
	for i := range foldersOf(chunksOf(m.Size)) {
		node, err := w.folder(ctx, i)
		if err != nil {
			return repository.ID{}, err
		}
		image.Nodes = append(image.Nodes, node)
	}
	if w.next >= 0 {
		return repository.ID{}, fmt.Errorf("chunk %d is behind the end of the volume: %w", w.next, ballast.ErrInvalid)
	}
	root, err := w.root(ctx, m, image)
	if err != nil {
		return repository.ID{}, err
	}
	return root, w.out.Flush(ctx)
}

func (w *baseWriter) root(ctx context.Context, m *manifest, image repository.Tree) (repository.ID, error) {
	data, err := m.encode()
	if err != nil {
		return repository.ID{}, err
	}
	content, err := w.save(ctx, repository.DataBlob, data)
	if err != nil {
		return repository.ID{}, err
	}
	tree, err := w.saveTree(ctx, image)
	if err != nil {
		return repository.ID{}, err
	}
	return w.saveTree(ctx, repository.Tree{Nodes: []repository.Node{
		dirNode(imageName, m.Time, tree),
		fileNode(manifestName, m.Time, len(data), []repository.ID{content}),
	}})
}

// folder writes one folder, or takes it over.
func (w *baseWriter) folder(ctx context.Context, i int) (repository.Node, error) {
	ids := make([]repository.ID, folderLen(chunksOf(w.info.Size), i))
	changed, err := w.collect(ctx, i*folderChunks, ids)
	if err != nil {
		return repository.Node{}, err
	}
	w.tell((i*folderChunks + len(ids)) * ballast.ChunkSize)
	if node, ok := w.below.whole(i, len(ids)); ok && !changed {
		return node, nil
	}
	old, err := w.below.fill(ctx, i, ids)
	if err != nil {
		return repository.Node{}, err
	}
	tree, err := w.saveTree(ctx, folderTree(ids, old, w.info.Time))
	if err != nil {
		return repository.Node{}, err
	}
	node := dirNode(folderName(i), w.info.Time, tree)
	if !changed {
		w.below.keep(node, len(ids))
	}
	return node, nil
}

// collect saves what comes of the chunks from first on, and reports whether
// anything did.
func (w *baseWriter) collect(ctx context.Context, first int, ids []repository.ID) (changed bool, err error) {
	for w.next >= first && w.next < first+len(ids) {
		if err := w.batch(ctx, first, ids); err != nil {
			return false, err
		}
		changed = true
		if w.unsynced >= flushEvery {
			if err := w.out.Flush(ctx); err != nil {
				return false, err
			}
			w.unsynced = 0
		}
	}
	return changed, nil
}

// batch saves chunks side by side, until a flush is due or the folder ends.
func (w *baseWriter) batch(ctx context.Context, first int, ids []repository.ID) (err error) {
	group, saving := errgroup.WithContext(ctx)
	defer func() { err = errors.Join(group.Wait(), err) }()
	for w.next >= first && w.next < first+len(ids) && w.unsynced < flushEvery {
		if err := w.start(saving, group, &ids[w.next-first]); err != nil {
			return err
		}
		if err := w.advance(ctx); err != nil {
			return err
		}
	}
	return nil
}

// start saves the chunk that src is at into id, in the background.
func (w *baseWriter) start(ctx context.Context, group *errgroup.Group, id *repository.ID) (err error) {
	if w.data == nil {
		*id, err = w.zeroID(ctx)
		return err
	}
	var buffer []byte
	select {
	case buffer = <-w.free:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	copy(buffer, w.data)
	w.unsynced += ballast.ChunkSize
	group.Go(func() (err error) {
		defer func() { w.free <- buffer }()
		*id, err = w.save(ctx, repository.DataBlob, buffer)
		return err
	})
	return nil
}

// advance moves to the next chunk of src.
func (w *baseWriter) advance(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	chunk, data, err := w.src.Next(ctx)
	switch {
	case errors.Is(err, io.EOF):
		w.next = -1
		return nil
	case err != nil:
		return fmt.Errorf("read the volume: %w", err)
	case chunk <= w.next || data != nil && len(data) != ballast.ChunkSize:
		return fmt.Errorf("read the volume: chunk %d with %d bytes came behind chunk %d: %w", chunk, len(data), w.next, ballast.ErrInvalid)
	}
	w.next, w.data = chunk, data
	if chunk%pieceChunks == 0 {
		w.tell(chunk * ballast.ChunkSize)
	}
	return nil
}

// zeroID returns the id of a chunk of zeros, which is then in the repository.
func (w *baseWriter) zeroID(ctx context.Context) (_ repository.ID, err error) {
	if w.zero.IsZero() {
		w.zero, err = w.save(ctx, repository.DataBlob, zeroChunk)
	}
	return w.zero, err
}

func (w *baseWriter) saveTree(ctx context.Context, t repository.Tree) (repository.ID, error) {
	data, err := repository.EncodeTree(t)
	if err != nil {
		return repository.ID{}, err
	}
	return w.save(ctx, repository.TreeBlob, data)
}

func (w *baseWriter) save(ctx context.Context, t repository.Type, data []byte) (repository.ID, error) {
	id, added, err := w.out.Save(ctx, t, data)
	if added {
		w.added.Add(int64(len(data)))
	}
	return id, err
}

func (w *baseWriter) tell(done int) {
	if w.report != nil {
		w.report(Progress{Done: int64(done), Total: w.info.Size, Added: w.added.Load()})
	}
}
