package repository

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const password = "correct horse"

// cheap makes keys of tests fast.
var cheap = scryptCost{N: 1 << 10, R: 8, P: 1}

// newTestRepository makes a repository in memory.
func newTestRepository(t testing.TB) (*Repository, *memory) {
	t.Helper()
	m := newMemory()
	r, err := initWith(t.Context(), m, []byte(password), Host{"here", "me"}, cheap)
	if err != nil {
		t.Fatal(err)
	}
	r.target = 256 << 10 // so that little data make many packs
	return r, m
}

// again is the repository as somebody else opens it, without the price of a password.
func (r *Repository) again(t testing.TB, m *memory) *Repository {
	t.Helper()
	other, err := newRepository(m, r.master, r.config)
	if err != nil {
		t.Fatal(err)
	}
	other.key, other.cost, other.target = r.key, cheap, r.target
	return other
}

// mixed returns data of which half compresses well.
func mixed(rng *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := 0; i < n/2; i += 8 {
		for j := range min(8, n-i) {
			data[i+j] = byte(rng.Uint32())
		}
	}
	for i := n / 2; i < n; i++ {
		data[i] = "the quick brown fox "[rng.IntN(3)*5+i%5]
	}
	return data
}

// saveFiles saves a snapshot of a folder with these files, cut into pieces.
func saveFiles(ctx context.Context, r *Repository, files map[string][]byte, piece int) (ID, error) {
	w := r.NewWriter()
	defer w.Close()
	var folder Tree
	for i := range len(files) {
		name := fmt.Sprintf("file%02d", i)
		node := Node{Name: name, Type: NodeFile, Mode: 0o600, ModTime: time.Unix(1e9, 0).UTC(), Size: uint64(len(files[name])), Content: []ID{}}
		for rest := files[name]; len(rest) > 0; {
			n := min(piece, len(rest))
			id, _, err := w.Save(ctx, DataBlob, rest[:n])
			if err != nil {
				return ID{}, err
			}
			node.Content = append(node.Content, id)
			rest = rest[n:]
		}
		folder.Nodes = append(folder.Nodes, node)
	}
	inner, err := saveTree(ctx, w, folder)
	if err != nil {
		return ID{}, err
	}
	top, err := saveTree(ctx, w, Tree{Nodes: []Node{{Name: "volume", Type: NodeDir, Mode: 0o700 | 1<<31, Subtree: &inner}}})
	if err != nil {
		return ID{}, err
	}
	if err := w.Flush(ctx); err != nil {
		return ID{}, err
	}
	return r.SaveSnapshot(ctx, &Snapshot{Time: time.Unix(1.7e9, 0).UTC(), Tree: top, Paths: []string{"/volume"}, Hostname: "here"})
}

func saveTree(ctx context.Context, w *Writer, tree Tree) (ID, error) {
	data, err := EncodeTree(tree)
	if err != nil {
		return ID{}, err
	}
	id, _, err := w.Save(ctx, TreeBlob, data)
	return id, err
}

// loadFiles reads what saveFiles saved.
func loadFiles(ctx context.Context, r *Repository, tree ID) (map[string][]byte, error) {
	data, err := r.LoadBlob(ctx, TreeBlob, tree)
	if err != nil {
		return nil, err
	}
	folder, err := DecodeTree(data)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, n := range folder.Nodes {
		if n.Type == NodeDir {
			return loadFiles(ctx, r, *n.Subtree)
		}
		files[n.Name] = []byte{}
		for _, id := range n.Content {
			piece, err := r.LoadBlob(ctx, DataBlob, id)
			if err != nil {
				return nil, err
			}
			files[n.Name] = append(files[n.Name], piece...)
		}
	}
	return files, nil
}

// someFiles are files of many sizes.
func someFiles(seed uint64) map[string][]byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	return map[string][]byte{
		"file00": {},
		"file01": []byte("x"),
		"file02": mixed(rng, 100_000),
		"file03": make([]byte, 300_000),
		"file04": mixed(rng, 500_017),
	}
}

func sameFiles(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d files; want %d", len(got), len(want))
	}
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s: %d bytes that differ from the %d that were saved", name, len(got[name]), len(want[name]))
		}
	}
}

// restic runs stock restic on a repository.
func restic(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return resticWith(t, password, dir, args...)
}

func resticWith(t *testing.T, password, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		t.Skip("stock restic is not installed: scripts/install-packages test installs it")
	}
	cmd := exec.CommandContext(t.Context(), "restic", append([]string{"--no-cache", "-r", dir}, args...)...)
	cmd.Env = append(cmd.Environ(), "RESTIC_PASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("restic %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
