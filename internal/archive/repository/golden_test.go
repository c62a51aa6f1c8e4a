package repository

import (
	"os"
	"path/filepath"
	"testing"
)

// A repository that was written once is read by every later version. UPDATE=1 writes
// it where there is none; what is there is never written again.
func TestGolden(t *testing.T) {
	const dir = "testdata/v1"
	files := map[string][]byte{"file00": {}, "file01": []byte("golden"), "file02": make([]byte, 10_000)}
	if _, err := os.Stat(dir); err != nil && os.Getenv("UPDATE") != "" {
		writeGolden(t, dir, files)
	}
	m := newMemory()
	m.read(t, dir)
	r, err := Open(t.Context(), m, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := r.Snapshots(t.Context())
	if err != nil || len(snapshots) != 1 {
		t.Fatalf("snapshots are %+v, %v; want one", snapshots, err)
	}
	wholeAndSame(t, r, map[ID]map[string][]byte{snapshots[0].ID: files})
}

func writeGolden(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	r, m := newTestRepository(t)
	if _, err := saveFiles(t.Context(), r, files, 4096); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(m.dump(t))); err != nil {
		t.Fatal(err)
	}
}
