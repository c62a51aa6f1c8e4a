package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
)

// below is what a base is written over: what a chunk is that does not come.
type below interface {
	// whole returns the node of a folder of so many chunks in which nothing changed.
	whole(folder, chunks int) (repository.Node, bool)
	// fill sets the chunks of a folder that are not set, and returns the nodes of
	// its pieces as they were.
	fill(ctx context.Context, folder int, ids []repository.ID) ([]repository.Node, error)
	// keep notes a folder in which nothing came.
	keep(node repository.Node, chunks int)
}

// below returns what w is written over: the parent, else how the volume began. It
// refuses a writer whose epoch was taken over (H5).
func (a *Archive) below(ctx context.Context, w *baseWriter, parent *Base) (below, error) {
	bases, damage, err := a.allBases(ctx)
	if err != nil {
		return nil, err
	}
	r := &historian{archive: a, bases: bases, damage: damage}
	h, err := r.read(ctx, w.info.Volume, w.info.LSN) // no more than who is the writer
	if err != nil {
		return nil, err
	}
	if err := h.admits(w.info); err != nil {
		return nil, err
	}
	if parent != nil {
		return a.belowParent(ctx, w, h, parent)
	}
	if open := h.line.Open; open != nil && open.Origin != nil {
		return belowOrigin{}, nil
	}
	return &belowZeros{w: w}, nil
}

// admits returns an error for a base that would be on no line.
func (h *History) admits(info SnapshotInfo) error {
	switch {
	case info.Epoch > h.line.Epoch:
		return fmt.Errorf("its log has not opened %s in the archive yet: %w", info.Epoch, ballast.ErrNotReady)
	case !h.line.OnPath(info.Epoch, info.LSN):
		return fmt.Errorf("LSN %d of %s is not part of its history, which %s has taken over: %w", info.LSN, info.Epoch, h.line.Epoch, ballast.ErrInUse)
	}
	return nil
}

// belowParent opens a parent. Its snapshot must still be there, under the lock, or
// what it refers to may be pruned meanwhile (H3).
func (a *Archive) belowParent(ctx context.Context, w *baseWriter, h *History, parent *Base) (below, error) {
	if !slices.ContainsFunc(h.Bases, func(b Base) bool { return b.Snapshot == parent.Snapshot && b.Tree == parent.Tree }) {
		return nil, fmt.Errorf("its parent, snapshot %s, in the volume's history: %w", parent.Snapshot.Short(), ballast.ErrNotFound)
	}
	m, err := openRoot(ctx, a.repo, parent.Tree)
	if err != nil {
		return nil, fmt.Errorf("open its parent, snapshot %s: %w", parent.Snapshot.Short(), err)
	}
	if m.manifest.Volume != parent.Volume || !samePoint(m.manifest.point(), parent.Point) {
		return nil, fmt.Errorf("its parent, snapshot %s, says of itself something else than its manifest: %w", parent.Snapshot.Short(), ballast.ErrInvalid)
	}
	return &belowImage{w: w, from: a.repo, image: m}, nil
}

// belowZeros is a volume that began empty.
type belowZeros struct {
	w      *baseWriter
	node   repository.Node // of a folder that is all zeros
	chunks int
}

func (b *belowZeros) whole(folder, chunks int) (repository.Node, bool) {
	node := b.node
	node.Name = folderName(folder)
	return node, chunks == b.chunks
}

func (b *belowZeros) keep(node repository.Node, chunks int) { b.node, b.chunks = node, chunks }

func (b *belowZeros) fill(ctx context.Context, _ int, ids []repository.ID) ([]repository.Node, error) {
	return nil, b.w.fillZeros(ctx, ids)
}

// fillZeros sets what is not set to zeros.
func (w *baseWriter) fillZeros(ctx context.Context, ids []repository.ID) (err error) {
	for i := range ids {
		if !ids[i].IsZero() {
			continue
		}
		if ids[i], err = w.zeroID(ctx); err != nil {
			return err
		}
	}
	return nil
}

// belowImage is a parent.
type belowImage struct {
	w     *baseWriter
	from  blobs
	image *image
}

func (b *belowImage) whole(folder, chunks int) (repository.Node, bool) {
	if folder >= len(b.image.nodes) || folderLen(b.image.chunks, folder) != chunks {
		return repository.Node{}, false
	}
	return b.image.nodes[folder], true
}

func (b *belowImage) keep(repository.Node, int) {}

func (b *belowImage) fill(ctx context.Context, folder int, ids []repository.ID) ([]repository.Node, error) {
	if folder >= len(b.image.nodes) {
		return nil, b.w.fillZeros(ctx, ids)
	}
	old, err := b.image.loadFolder(ctx, b.from, folder)
	if err != nil {
		return nil, err
	}
	for i, id := range old.chunks {
		if ids[i].IsZero() {
			ids[i] = id
		}
	}
	return old.nodes, b.w.fillZeros(ctx, ids)
}

// belowOrigin is a volume that began as another one was: every chunk must come, as one
// that does not could be anything.
type belowOrigin struct{}

func (belowOrigin) whole(int, int) (repository.Node, bool) { return repository.Node{}, false }

func (belowOrigin) keep(repository.Node, int) {}

func (belowOrigin) fill(_ context.Context, folder int, ids []repository.ID) ([]repository.Node, error) {
	if i := slices.Index(ids, repository.ID{}); i >= 0 {
		return nil, fmt.Errorf("chunk %d did not come, and the volume began as another one: %w", folder*folderChunks+i, ballast.ErrInvalid)
	}
	return nil, nil
}
