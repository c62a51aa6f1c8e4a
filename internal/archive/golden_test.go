package archive

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
)

const goldenV1 = "testdata/v1"

// An archive that was written once is read by every later version: its history, and every
// byte of every point of it. UPDATE=1 writes it where there is none; what is there is
// never written again.
func TestGolden(t *testing.T) {
	if _, err := os.Stat(goldenV1); err != nil && os.Getenv("UPDATE") != "" {
		writeGolden(t)
	}
	want, err := os.ReadFile(filepath.Join(goldenV1, "history.txt"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := readGolden(t)
	if got := describeGolden(t, a); got != string(want) {
		t.Errorf("the golden archive reads as\n%s\nwant\n%s", got, want)
	}
}

func TestStockResticChecksTheGoldenArchive(t *testing.T) {
	if _, err := exec.LookPath("restic"); err != nil {
		t.Skip("restic is not installed")
	}
	_, dir := readGolden(t)
	run := restic(t, filepath.Join(dir, "repo"), testPassword)
	if out := run("check", "--read-data"); !strings.Contains(out, "no errors were found") {
		t.Errorf("check says:\n%s", out)
	}
}

// readGolden opens a copy of the archive: an archive is never only read.
func readGolden(t *testing.T) (_ *Archive, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenV1)); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return openArchive(t, st, testPassword), dir
}

// describeGolden says what is in the archive: the history, and what each point restores.
func describeGolden(t *testing.T, a *Archive) string {
	t.Helper()
	h, err := a.History(t.Context(), volumeID(1))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "volume %s %q, %d bytes, %s, problems %q\n", h.Volume, h.Name, h.Spec.Size, h.Spec.FS, h.Problems)
	for _, base := range h.Bases {
		fmt.Fprintf(&b, "base LSN %d %s tags %q\n", base.Point.LSN, base.Point.Epoch, base.Tags)
	}
	for _, w := range h.Windows() {
		fmt.Fprintf(&b, "any second from %s until %s\n", w.From.Format("15:04:05"), w.Until.Format("15:04:05"))
	}
	for i := range h.marks {
		plan, err := h.Plan(When{Time: h.marks[i].point.Time})
		if err != nil {
			t.Fatal(err)
		}
		base := "zeros"
		if plan.Base != nil {
			base = fmt.Sprintf("the base at LSN %d", plan.Base.Point.LSN)
		}
		p := plan.Point
		fmt.Fprintf(&b, "point %s LSN %d %s size %d from %s: %x\n", p.Time.Format("15:04:05"), p.LSN, p.Epoch, p.Size, base, digestOf(t, a, plan))
	}
	return b.String()
}

// digestOf is the SHA-256 of the whole volume at a plan's point.
func digestOf(t *testing.T, a *Archive, plan *Plan) []byte {
	t.Helper()
	src, err := a.Source(t.Context(), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	err = src.Stream(t.Context(), func(_ int, data []byte) error {
		if data == nil {
			data = zeroChunk
		}
		_, err := sum.Write(data)
		return err
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sum.Sum(nil)
}

// writeGolden makes an archive with all that the format has: two epochs, a tail
// with points and a group that is none, zeros, growth, two bases and a user's tag.
func writeGolden(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	repo, err := repository.Init(t.Context(), st, []byte(testPassword), repository.Host{Name: "n1", User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(t, New(st, repo, "ballast test"), 1, volumeID(1), 16)
	m.open()
	m.write(3, 5)
	m.flush(true)
	m.write(chunkBlocks, 20)
	m.flush(false)
	m.write(chunkBlocks+10, 2)
	m.ship()
	m.base(false)
	m.discard(4, 2)
	m.ship()
	m.open()
	m.grow()
	m.write(16*chunkBlocks+7, 3)
	m.flush(true)
	m.discard(chunkBlocks, chunkBlocks)
	m.write(0, 1)
	m.ship()
	m.base(true, "before-upgrade")
	m.write(2*chunkBlocks, 4)
	m.ship()
	m.sortStates()
	for _, s := range m.states {
		if !m.checkMoment(s.point.Time) {
			t.Fatalf("the archive has no point at %s", s.point.Time)
		}
	}
	keepGolden(t, dir, describeGolden(t, m.archive))
}

func keepGolden(t *testing.T, dir, history string) {
	t.Helper()
	err := cmp.Or(
		os.MkdirAll(filepath.Dir(goldenV1), 0o755),
		os.CopyFS(goldenV1, os.DirFS(dir)),
		os.WriteFile(filepath.Join(goldenV1, "history.txt"), []byte(history), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
}
