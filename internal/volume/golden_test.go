package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

var update = flag.Bool("update", false, "write testdata of the present format version anew")

const (
	goldenV1 = "testdata/v1"
	goldenV2 = "testdata/v2"

	goldenPromised   = "testdata/v2-promised"
	goldenIncomplete = "testdata/v2-incomplete"
)

// TestGolden opens a volume of every format version there was, with records in
// its log and in its image, and wants the bytes that were put there.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	disk, want := copyGolden(t, goldenV1)
	if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 || rep.Records == 0 {
		t.Errorf("Check = %+v, %v; want records and no damage", rep, err)
	}
	v, err := openSmall(disk, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := contentSum(t, v); got != want {
		t.Errorf("content = %s; want %s", got, want)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// TestGoldenCopy opens a copy of version 2 that has promised an epoch.
func TestGoldenCopy(t *testing.T) {
	if *update {
		writeGoldenCopy(t)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenPromised)); err != nil {
		t.Fatal(err)
	}
	disk := openDisk(t, dir)
	if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 || rep.Records != 4 || rep.Epoch != 5 {
		t.Errorf("Check = %+v, %v; want 4 records, e5, and no damage", rep, err)
	}
	f := openFollower(t, disk)
	st := f.State()
	if st.Epoch != 5 || !slices.Equal(st.Lineage, Lineage{{1, 1}, {3, 3}}) || st.Last != 4 || st.Applied != 2 || !st.Complete {
		t.Errorf("the copy is %+v", st)
	}
	for block, want := range []uint64{0, 11, 12, 23, 24} {
		if got := readBlock(t, f, block); got != want {
			t.Errorf("block %d is version %d; want %d", block, got, want)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openSmall(disk, 5); !errors.Is(err, ErrStaleEpoch) {
		t.Errorf("Open under what was promised = %v; want ErrStaleEpoch", err)
	}
	v, err := openSmall(disk, 6)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err := loadDescriptor(disk, testDir); err != nil || d.Format != 1 {
		t.Errorf("once it has led, its descriptor is %+v, %v; want version 1", d, err)
	}
}

// writeGoldenCopy makes a copy that cut a record, and folded what it was told to.
func writeGoldenCopy(t *testing.T) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(goldenPromised), os.MkdirAll(goldenPromised, 0o755)); err != nil {
		t.Fatal(err)
	}
	f := newFollower(t, openDisk(t, goldenPromised))
	appendAll(t, f, batchOf(1, 1, 11, 12))
	f.Commit(2)
	fold(t, f)
	appendAll(t, f, batchOf(1, 3, 13))
	if err := f.Follow(3, Lineage{{1, 1}, {3, 3}}, 2); err != nil {
		t.Fatal(err)
	}
	appendAll(t, f, batchOf(3, 3, 23), batchOf(3, 4, 24))
	if err := errors.Join(f.Promise(5), f.Close()); err != nil {
		t.Fatal(err)
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

// copyGolden returns a disk with a golden volume, and the sum of what it holds.
func copyGolden(t *testing.T, golden string) (disk vfs.FS, want string) {
	t.Helper()
	sum, err := os.ReadFile(filepath.Join(golden, "content.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, testDir), os.DirFS(filepath.Join(golden, testDir))); err != nil {
		t.Fatal(err)
	}
	// git keeps no empty folder.
	if err := os.MkdirAll(filepath.Join(dir, testDir, logDir), 0o700); err != nil {
		t.Fatal(err)
	}
	return openDisk(t, dir), strings.TrimSpace(string(sum))
}

// TestGoldenMerging opens a copy of version 2 that was left in the middle of a merge:
// it has promised an epoch, and comes to be what its leader was (V11).
func TestGoldenMerging(t *testing.T) {
	if *update {
		writeGoldenMerging(t)
	}
	disk, want := copyGolden(t, goldenV2)
	f, err := OpenFollower(disk, testDir, FollowerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if st := f.State(); st.Epoch != 5 || !st.Complete || st.Last != st.Applied || st.Last == 0 {
		t.Errorf("state = %+v; want a whole copy that has promised e5", st)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := openSmall(disk, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := contentSum(t, v); got != want {
		t.Errorf("content = %s; want %s", got, want)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

func writeGoldenMerging(t *testing.T) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(goldenV2), os.MkdirAll(goldenV2, 0o755)); err != nil {
		t.Fatal(err)
	}
	home := crashfs.New()
	makeSmall(t, home)
	w := worker{rng: rand.New(rand.NewPCG(1, 9))}
	var err error
	if w.v, err = openSmall(home, 1); err != nil {
		t.Fatal(err)
	}
	work := func() {
		for range 30 {
			if err := w.step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	work()
	disk := openDisk(t, goldenV2)
	newCopy(t, disk, testSize)
	f, err := openCopyOf(disk)
	if err != nil {
		t.Fatal(err)
	}
	p := pull{leader: w.v, f: f}
	if err := errors.Join(p.chunks(t.Context()), w.write(), p.catchUp()); err != nil {
		t.Fatal(err)
	}
	work()
	if err := p.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		if done, err = p.next(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.into.settleNow(), f.Promise(5)); err != nil {
		t.Fatal(err)
	}
	p.into.to.Epoch = 5 // as if the new leader had taken no snapshot yet
	if err := f.beginMerge(p.into); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(goldenV2, "content.sha256"), []byte(contentSum(t, w.v)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenIncomplete opens a first copy of version 2 whose chunks are not all there: it
// is no volume, knows what it has, and becomes one with the rest.
func TestGoldenIncomplete(t *testing.T) {
	if *update {
		writeGoldenIncomplete(t)
	}
	disk, want := copyGolden(t, goldenIncomplete)
	if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 || !rep.Incomplete || rep.Staged != 1 || rep.Epoch != 3 {
		t.Errorf("Check = %+v, %v; want an incomplete copy of e3 with a staged chunk, and no damage", rep, err)
	}
	if _, err := openSmall(disk, 100); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("Open = %v; want ErrNotReady", err)
	}
	f := openFollower(t, disk)
	if st := f.State(); st.Complete || st.Epoch != 3 || st.Last != 0 {
		t.Errorf("the copy is %+v; want one that has nothing", st)
	}
	s, err := f.Stage(goldenPoint)
	if err != nil {
		t.Fatal(err)
	}
	if got := maps.Collect(s.Staged()); !maps.Equal(got, map[int]ballast.LSN{0: 7}) {
		t.Errorf("staged are %v; want chunk 0 of LSN 7", got)
	}
	if err := errors.Join(s.Put(1, 9, goldenChunk(1)), s.Finish(), f.Close()); err != nil {
		t.Fatal(err)
	}
	v, err := openSmall(disk, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got := contentSum(t, v); got != want {
		t.Errorf("content = %s; want %s", got, want)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

var goldenPoint = StagePoint{LSN: 9, Epoch: 3, Size: 2 * testSize, Lineage: Lineage{{3, 1}}}

// goldenChunk has a block of its own every now and then.
func goldenChunk(chunk int) []byte {
	p := make([]byte, ballast.ChunkSize)
	for b := 0; b < blocksPerChunk; b += 50 {
		paint(p[b*blockSize:][:blockSize], uint64(7+chunk), chunk*blocksPerChunk+b)
	}
	return p
}

func writeGoldenIncomplete(t *testing.T) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(goldenIncomplete), os.MkdirAll(goldenIncomplete, 0o755)); err != nil {
		t.Fatal(err)
	}
	disk := openDisk(t, goldenIncomplete)
	newCopy(t, disk, 2*testSize)
	f := openFollower(t, disk)
	s, err := f.Stage(goldenPoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Put(0, 7, goldenChunk(0)), f.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(slices.Concat(goldenChunk(0), goldenChunk(1)))
	if err := os.WriteFile(filepath.Join(goldenIncomplete, "content.sha256"), []byte(hex.EncodeToString(sum[:])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
