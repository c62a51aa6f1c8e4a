package archive

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
)

// treeReaders is how many trees, or headers of the tail, are fetched at once.
const treeReaders = 16

// blobs is what reading takes of a repository.
type blobs interface {
	LoadBlob(ctx context.Context, t repository.Type, id repository.ID) ([]byte, error)
}

// image is which blob each chunk of a base is. Folders that are the same are there once,
// so that the empty part of a large volume costs next to nothing.
type image struct {
	manifest *manifest
	chunks   int
	nodes    []repository.Node // of the folders
	folders  []*folder
}

// folder is the pieces and the chunks of one folder.
type folder struct {
	nodes  []repository.Node
	chunks []repository.ID
}

// of returns the blob of a chunk; false: it is behind the image's end.
func (m *image) of(chunk int) (repository.ID, bool) {
	if chunk >= m.chunks {
		return repository.ID{}, false
	}
	return m.folders[chunk/folderChunks].chunks[chunk%folderChunks], true
}

// openRoot reads a base's root and manifest, and the nodes of its folders.
func openRoot(ctx context.Context, from blobs, tree repository.ID) (*image, error) {
	root, err := loadTree(ctx, from, tree)
	if err != nil {
		return nil, err
	}
	m := &image{}
	for i := range root.Nodes {
		switch n := &root.Nodes[i]; {
		case n.Name == manifestName && n.Type == repository.NodeFile:
			m.manifest, err = loadManifest(ctx, from, n)
		case n.Name == imageName && n.Type == repository.NodeDir:
			var t repository.Tree
			t, err = loadTree(ctx, from, *n.Subtree)
			m.nodes = t.Nodes
		}
		if err != nil {
			return nil, err
		}
	}
	return m, m.checkRoot()
}

// checkRoot checks that the folders are those of a volume of the manifest's size.
func (m *image) checkRoot() error {
	if m.manifest == nil {
		return fmt.Errorf("the snapshot has no %s: %w", manifestName, ballast.ErrInvalid)
	}
	m.chunks = chunksOf(m.manifest.Size)
	if len(m.nodes) != foldersOf(m.chunks) {
		return fmt.Errorf("the snapshot's image has %d folders; a volume of %s has %d: %w",
			len(m.nodes), ballast.FormatSize(m.manifest.Size), foldersOf(m.chunks), ballast.ErrInvalid)
	}
	for i, n := range m.nodes {
		if n.Name != folderName(i) || n.Type != repository.NodeDir {
			return fmt.Errorf("the snapshot's image has %q where folder %s should be: %w", n.Name, folderName(i), ballast.ErrInvalid)
		}
	}
	m.folders = make([]*folder, len(m.nodes))
	return nil
}

// openImage reads all trees of a base, and no data.
func openImage(ctx context.Context, from blobs, tree repository.ID) (*image, error) {
	m, err := openRoot(ctx, from, tree)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(treeReaders)
	seen := shared{folders: map[folderKey]*folder{}}
	for i := range m.nodes {
		group.Go(func() (err error) {
			m.folders[i], err = seen.load(ctx, from, m, i)
			return err
		})
	}
	return m, group.Wait()
}

type folderKey struct {
	tree   repository.ID
	chunks int
}

// shared keeps folders that are the same from being kept twice.
type shared struct {
	mu      sync.Mutex // guards folders
	folders map[folderKey]*folder
}

func (s *shared) load(ctx context.Context, from blobs, m *image, i int) (*folder, error) {
	key := folderKey{tree: *m.nodes[i].Subtree, chunks: folderLen(m.chunks, i)}
	s.mu.Lock()
	f := s.folders[key]
	s.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f, err := m.loadFolder(ctx, from, i)
	if err != nil {
		return nil, err
	}
	f.nodes = nil // readers need the chunks only
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.folders[key]; other != nil {
		return other, nil
	}
	s.folders[key] = f
	return f, nil
}

// loadFolder reads one folder and checks that it has the chunks that it must have.
func (m *image) loadFolder(ctx context.Context, from blobs, i int) (*folder, error) {
	t, err := loadTree(ctx, from, *m.nodes[i].Subtree)
	if err != nil {
		return nil, err
	}
	f := &folder{nodes: t.Nodes, chunks: make([]repository.ID, 0, folderLen(m.chunks, i))}
	for piece, n := range t.Nodes {
		want := min(pieceChunks, cap(f.chunks)-len(f.chunks))
		if n.Name != pieceName(piece) || n.Type != repository.NodeFile || len(n.Content) != want || want == 0 {
			return nil, fmt.Errorf("the snapshot's image has %s/%q with %d chunks where %s with %d should be: %w",
				folderName(i), n.Name, len(n.Content), pieceName(piece), want, ballast.ErrInvalid)
		}
		f.chunks = append(f.chunks, n.Content...)
	}
	if len(f.chunks) < cap(f.chunks) {
		return nil, fmt.Errorf("the snapshot's image has %d of the %d chunks of folder %s: %w", len(f.chunks), cap(f.chunks), folderName(i), ballast.ErrInvalid)
	}
	return f, nil
}

func loadTree(ctx context.Context, from blobs, id repository.ID) (repository.Tree, error) {
	data, err := from.LoadBlob(ctx, repository.TreeBlob, id)
	if err != nil {
		return repository.Tree{}, fmt.Errorf("read tree %s: %w", id.Short(), err)
	}
	return repository.DecodeTree(data)
}

func loadManifest(ctx context.Context, from blobs, n *repository.Node) (*manifest, error) {
	if len(n.Content) != 1 {
		return nil, fmt.Errorf("read manifest: it has %d blobs: %w", len(n.Content), ballast.ErrInvalid)
	}
	data, err := from.LoadBlob(ctx, repository.DataBlob, n.Content[0])
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return decodeManifest(data)
}
