package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/internal/vfs"
)

var update = flag.Bool("update", false, "write testdata of the present format version anew")

const goldenV1 = "testdata/v1"

// TestGolden opens a volume of every format version there was, with records in
// its log and in its image, and wants the bytes that were put there.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	want, err := os.ReadFile(filepath.Join(goldenV1, "content.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, testDir), os.DirFS(filepath.Join(goldenV1, testDir))); err != nil {
		t.Fatal(err)
	}
	disk := openDisk(t, dir)
	if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 || rep.Records == 0 {
		t.Errorf("Check = %+v, %v; want records and no damage", rep, err)
	}
	v, err := openSmall(disk, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := contentSum(t, v); got != strings.TrimSpace(string(want)) {
		t.Errorf("content = %s; want %s", got, want)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

func openDisk(t *testing.T, dir string) vfs.FS {
	t.Helper()
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	return disk
}

func contentSum(t *testing.T, v *Volume) string {
	t.Helper()
	p := make([]byte, v.Size())
	if _, err := v.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

func writeGolden(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(goldenV1); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(goldenV1, 0o755); err != nil {
		t.Fatal(err)
	}
	disk := openDisk(t, goldenV1)
	makeSmall(t, disk)
	w := worker{rng: rand.New(rand.NewPCG(1, 9))}
	var err error
	if w.v, err = openSmall(disk, 1); err != nil {
		t.Fatal(err)
	}
	for w.v.Stats().Rounds < 2 || w.v.Stats().Last < w.v.Stats().Applied+9 {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(goldenV1, "content.sha256"), []byte(contentSum(t, w.v)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.v.Close(); err != nil {
		t.Fatal(err)
	}
}
