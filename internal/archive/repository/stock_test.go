package repository

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/internal/archive/store"
)

// Stock restic is the judge of what we write.
func TestStockReadsWhatWeWrite(t *testing.T) {
	r, m := newTestRepository(t)
	files := someFiles(1)
	for _, piece := range []int{1 << 20, 30_000} { // the second shares what it can
		if _, err := saveFiles(t.Context(), r, files, piece); err != nil {
			t.Fatal(err)
		}
	}
	dir := m.dump(t)
	if out := restic(t, dir, "check", "--read-data"); !strings.Contains(out, "no errors were found") {
		t.Errorf("check says:\n%s", out)
	}
	if out := restic(t, dir, "snapshots"); !strings.Contains(out, "2 snapshots") {
		t.Errorf("snapshots says:\n%s", out)
	}
	if out := restic(t, dir, "ls", "latest"); !strings.Contains(out, "/volume/file04") {
		t.Errorf("ls says:\n%s", out)
	}
	to := t.TempDir()
	restic(t, dir, "restore", "latest", "--target", to)
	got := map[string][]byte{}
	for name := range files {
		data, err := os.ReadFile(filepath.Join(to, "volume", name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = data
	}
	sameFiles(t, got, files)
}

// And we read what stock restic writes, whatever it compresses.
func TestWeReadWhatStockWrites(t *testing.T) {
	for _, compression := range []string{"auto", "max", "off"} {
		t.Run(compression, func(t *testing.T) {
			from, dir := t.TempDir(), filepath.Join(t.TempDir(), "repo")
			files := someFiles(2)
			for name, data := range files {
				if err := os.WriteFile(filepath.Join(from, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			restic(t, dir, "init")
			restic(t, dir, "--compression", compression, "backup", "--tag", "odd,even", from)
			m := newMemory()
			m.read(t, dir)
			r, err := Open(t.Context(), m, []byte(password))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.LoadIndex(t.Context()); err != nil {
				t.Fatal(err)
			}
			snapshots, err := r.Snapshots(t.Context())
			if err != nil || len(snapshots) != 1 || strings.Join(snapshots[0].Tags, " ") != "odd even" {
				t.Fatalf("snapshots are %+v, %v; want one with two tags", snapshots, err)
			}
			got, err := loadFiles(t.Context(), r, snapshots[0].Tree)
			if err != nil {
				t.Fatal(err)
			}
			sameFiles(t, got, files)
			sameBytesAgain(t, r, snapshots[0].Tree)
		})
	}
}

// sameBytesAgain sees to it that a tree of restic's is encoded by us as by restic.
func sameBytesAgain(t *testing.T, r *Repository, id ID) {
	t.Helper()
	data, err := r.LoadBlob(t.Context(), TreeBlob, id)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := DecodeTree(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := EncodeTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(data) {
		t.Errorf("a tree is encoded as\n%s\nby restic as\n%s", again, data)
	}
	for _, n := range tree.Nodes {
		if n.Subtree != nil {
			sameBytesAgain(t, r, *n.Subtree)
		}
	}
}

// One repository in a folder, used by both in turn.
func TestStockAndWeShareARepository(t *testing.T) {
	dir, from := t.TempDir(), t.TempDir()
	st, err := store.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r, err := initWith(t.Context(), st, []byte(password), Host{"here", "me"}, cheap)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := someFiles(3), someFiles(4)
	if _, err := saveFiles(t.Context(), r, ours, 100_000); err != nil {
		t.Fatal(err)
	}
	for name, data := range theirs {
		if err := os.WriteFile(filepath.Join(from, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	repo := filepath.Join(dir, "repo")
	restic(t, repo, "backup", "--tag", "kept", from)
	restic(t, repo, "backup", "--tag", "removed", from, "/etc/hostname")
	snapshots, err := r.Snapshots(t.Context())
	if err != nil || len(snapshots) != 3 {
		t.Fatalf("snapshots are %+v, %v; want three", snapshots, err)
	}
	if err := r.RemoveSnapshot(t.Context(), snapshots[2].ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Prune(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range problems(t, r) {
		t.Error(p)
	}
	restic(t, repo, "check", "--read-data")
	for i, want := range []map[string][]byte{ours, theirs} {
		got, err := loadFiles(t.Context(), r, snapshots[i].Tree)
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, got, want)
	}
	restic(t, repo, "prune")
	if _, err := loadFiles(t.Context(), r, snapshots[0].Tree); err != nil {
		t.Errorf("after restic's prune: %v", err)
	}
}
