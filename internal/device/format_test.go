package device

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
)

// B1: whatever is on a volume that is not the filesystem asked for stays as it is.
func TestNeverFormatsWhatIsThere(t *testing.T) {
	for _, tt := range []struct {
		name string
		fill func(t *testing.T, path string)
		want string
	}{
		{"ext4 where xfs is asked for", func(t *testing.T, path string) { run(t, "mkfs.ext4", "-q", "-F", path) }, "holds ext4"},
		{"btrfs by its magic", func(t *testing.T, path string) { write(t, path, 0x10040, "_BHRfS_M") }, "not xfs"},
		{"a partition table", func(t *testing.T, path string) {
			write(t, path, 446, "\x80\x01\x01\x00\x83\x01\x01\x01\x00\x08\x00\x00\x00\x10\x00\x00")
			write(t, path, 510, "\x55\xaa")
		}, "partition table"},
		{"random bytes at the start", func(t *testing.T, path string) { write(t, path, 700_000, "something") }, "not blank"},
		{"random bytes at the end", func(t *testing.T, path string) { write(t, path, 512<<20-4096, "something") }, "not blank"},
		{"almost the note of a format", func(t *testing.T, path string) { write(t, path, 0, "Ballast is formatting this volume.") }, "not blank"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			device, mountpoint := place(t)
			image := filepath.Join(t.TempDir(), "image")
			if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 512<<20)); err != nil {
				t.Fatal(err)
			}
			tt.fill(t, image)
			store := newMemory(512 << 20)
			load(t, store, image)
			serve(t, device, store)
			before := store.writes.Load()
			_, err := Attach(t.Context(), Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.XFS, MayFormat: true}, quiet())
			if !errors.Is(err, ballast.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("attach = %v; want it invalid because %q", err, tt.want)
			}
			if got := store.writes.Load() - before; got != 0 || store.discarded.Load() != 0 {
				t.Errorf("%d writes and %d bytes discarded; want none", got, store.discarded.Load())
			}
		})
	}
}

func write(t *testing.T, path string, off int64, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(text), off)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// load fills a store with what is not zero in a file.
func load(t *testing.T, store *memory, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for off := int64(0); off < store.Size(); off += 4096 {
		if _, err := f.ReadAt(block, off); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if !isZero(block) {
			if _, err := store.WriteAt(block, off); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A volume that was in use and is blank has lost its data: that is not a reason
// to give it a new filesystem.
func TestBlankIsAnErrorWhenDataIsExpected(t *testing.T) {
	device, mountpoint := place(t)
	store := newMemory(64 << 20)
	serve(t, device, store)
	_, err := Attach(t.Context(), Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.Ext4}, quiet())
	if !errors.Is(err, ballast.ErrInvalid) || store.writes.Load() != 0 {
		t.Errorf("attach = %v after %d writes; want invalid, 0", err, store.writes.Load())
	}
}

func TestXFSNeedsRoom(t *testing.T) {
	device, mountpoint := place(t)
	serve(t, device, newMemory(64<<20))
	_, err := Attach(t.Context(), Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: ballast.XFS, MayFormat: true}, quiet())
	if !errors.Is(err, ballast.ErrInvalid) || !strings.Contains(err.Error(), "too small") {
		t.Errorf("attach = %v; want invalid, too small", err)
	}
}

// crashing is a store that stops taking writes after some: a machine that dies in
// the middle of a format.
type crashing struct {
	*memory
	left int64
}

func (c *crashing) WriteAt(p []byte, off int64) (int, error) {
	if c.writes.Load() >= c.left {
		return 0, unix.EIO
	}
	return c.memory.WriteAt(p, off)
}

// B1: a format that dies after any of its writes is started over, and the
// filesystem is whole.
func TestFormatIsWholeOrNotThere(t *testing.T) {
	filesystems(t, func(t *testing.T, fs ballast.Filesystem) {
		for cut := int64(0); ; cut++ {
			device, mountpoint := place(t)
			store := newMemory(320 << 20)
			spec := Spec{DeviceFile: device, Mountpoint: mountpoint, Filesystem: fs, MayFormat: true}
			_, stop := serve(t, device, &crashing{memory: store, left: cut})
			_, err := Attach(t.Context(), spec, quiet())
			stop()
			_, stop = serve(t, device, store)
			at, err2 := Attach(t.Context(), spec, quiet())
			if err2 != nil {
				t.Fatalf("attach after a format that died at write %d: %v", cut, err2)
			}
			if at.Formatted != (err != nil) && !at.Formatted {
				t.Logf("cut at write %d came after the format", cut)
			}
			checkFilesystem(t, at)
			stop()
			if err == nil {
				return
			}
			if cut > 8 {
				cut += 5 // the middle is alike
			}
		}
	})
}

// checkFilesystem unmounts and checks.
func checkFilesystem(t *testing.T, at Attachment) {
	t.Helper()
	run(t, "umount", at.Mountpoint)
	if at.Filesystem == ballast.XFS {
		run(t, "xfs_repair", "-n", at.Loop)
		return
	}
	run(t, "e2fsck", "-fn", at.Loop)
}
