package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// TestCompareCopies takes copies of a volume with ext4 on it, one of them a few records
// behind, and then one with a byte that is another.
func TestCompareCopies(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("left out: there is no mkfs.ext4")
	}
	source := t.TempDir()
	behind, ahead := t.TempDir(), t.TempDir()
	makeVolume(t, source)
	write(t, source, func(v *volume.Volume) { put(t, v, filesystem(t), 0) })
	cp(t, source, behind)
	write(t, source, func(v *volume.Volume) { put(t, v, []byte(strings.Repeat("x", 4096)), 9<<20) })
	cp(t, source, ahead)

	v, err := compareCopies(t.Context(), map[string]string{"n1": behind, "n2": ahead})
	if err != nil {
		t.Fatal(err)
	}
	if v.at == 0 || v.bytes != volumeSize {
		t.Errorf("compared %+v", v)
	}

	lies, good := t.TempDir(), t.TempDir()
	cp(t, source, lies)
	cp(t, source, good)
	image, err := os.OpenFile(filepath.Join(lies, "image"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.WriteAt([]byte{0xff}, 12<<20); err != nil {
		t.Fatal(err)
	}
	image.Close()
	_, err = compareCopies(t.Context(), map[string]string{"n1": good, "n2": lies})
	if err == nil || !strings.Contains(err.Error(), "n1 and n2 differ in 1 blocks of 4096, the first one at 0xc00000") {
		t.Errorf("with another byte: %v", err)
	}
}

const volumeSize = 16 << 20

func makeVolume(t *testing.T, dir string) {
	t.Helper()
	disk := open(t, dir)
	if err := volume.Create(disk, ".", volume.Identity{ID: ballast.VolumeID(strings.Repeat("a", 26)), Size: volumeSize}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *vfs.Disk {
	t.Helper()
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return disk
}

// write opens the volume in dir under the next epoch for do, and flushes.
func write(t *testing.T, dir string, do func(v *volume.Volume)) {
	t.Helper()
	state, err := stateOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(open(t, dir), ".", volume.Options{Epoch: state.Epoch + 1})
	if err != nil {
		t.Fatal(err)
	}
	do(v)
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, v *volume.Volume, p []byte, off int64) {
	t.Helper()
	const piece = 64 << 10
	for len(p) > 0 {
		n := min(piece, len(p))
		if _, err := v.WriteAt(p[:n], off); err != nil {
			t.Fatal(err)
		}
		p, off = p[n:], off+int64(n)
	}
}

func filesystem(t *testing.T) []byte {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	if out, err := exec.Command("mkfs.ext4", "-q", raw, "8M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func cp(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-r", "--sparse=always", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
