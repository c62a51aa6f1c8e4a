package archive

import (
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
)

// The shape of a volume's tree. A changed chunk costs itself, the list of its
// folder's chunks (70 KB of JSON) and the list of folders.
const (
	manifestName = "manifest.json"
	imageName    = "image"

	pieceChunks  = 64   // chunks of a file
	folderChunks = 1024 // chunks of a folder
	folderPieces = folderChunks / pieceChunks
)

// zeroChunk is what a chunk holds that was never written or is discarded.
var zeroChunk = make([]byte, ballast.ChunkSize)

func chunksOf(size int64) int { return int(size / ballast.ChunkSize) }

// foldersOf returns how many folders a volume of so many chunks has.
func foldersOf(chunks int) int { return (chunks + folderChunks - 1) / folderChunks }

// folderLen returns how many chunks are in one of the folders.
func folderLen(chunks, folder int) int { return min(folderChunks, chunks-folder*folderChunks) }

// Names are padded with zeros: a shell's glob must sort them as they follow.
func folderName(i int) string { return fmt.Sprintf("%05d", i) }

func pieceName(i int) string { return fmt.Sprintf("%02d", i) }

func dirNode(name string, at time.Time, tree repository.ID) repository.Node {
	n := plainNode(name, repository.NodeDir, at)
	n.Mode, n.Subtree = fs.ModeDir|0o700, &tree
	return n
}

func fileNode(name string, at time.Time, size int, content []repository.ID) repository.Node {
	n := plainNode(name, repository.NodeFile, at)
	n.Mode, n.Size, n.Content = 0o600, uint64(size), content
	return n
}

func plainNode(name string, kind repository.NodeType, at time.Time) repository.Node {
	return repository.Node{Name: name, Type: kind, ModTime: at, AccessTime: at, ChangeTime: at}
}

// folderTree returns the tree of a folder with these chunks. A piece that old has
// as well, at the same place, is taken over: so it keeps the time when it changed.
func folderTree(chunks []repository.ID, old []repository.Node, at time.Time) repository.Tree {
	var nodes []repository.Node
	for i := 0; i*pieceChunks < len(chunks); i++ {
		content := chunks[i*pieceChunks : min((i+1)*pieceChunks, len(chunks))]
		node := fileNode(pieceName(i), at, len(content)*ballast.ChunkSize, content)
		if i < len(old) && slices.Equal(old[i].Content, content) {
			node = old[i]
		}
		nodes = append(nodes, node)
	}
	return repository.Tree{Nodes: nodes}
}
