package engine

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/volume"
)

// lay puts a delta over an image of the volume.
func lay(image []byte, d *delta.Delta) {
	for _, g := range d.Groups {
		data := g.Data
		for _, r := range g.Runs {
			at := image[r.First*ballast.BlockSize:][:r.Count*ballast.BlockSize]
			clear(at)
			if !r.Zero {
				data = data[copy(at, data):]
			}
		}
	}
}

// mustBeOnDevice compares an image with what the engine serves.
func mustBeOnDevice(t *testing.T, dir string, image []byte) {
	t.Helper()
	served, err := os.ReadFile(DeviceFile(dir))
	if err != nil || !bytes.Equal(served, image) {
		t.Errorf("the image differs from the device (%v)", err)
	}
}

// What an engine tells the archive, one delta over the other, is the volume; and that
// across a crash.
func TestChanges(t *testing.T) {
	dir := newVolume(t)
	image := make([]byte, size)
	var at ballast.LSN
	for epoch := ballast.Epoch(1); epoch <= 2; epoch++ {
		c := spawnWith(t, Config{Dir: dir, Epoch: epoch, Queue: 64 << 20})
		mountpoint := attach(t, dir)
		put(t, filepath.Join(mountpoint, epoch.String()), "acknowledged")
		if epoch == 1 {
			bury(t, c, dir)
			continue
		}
		if err := device.Detach(t.Context(), DeviceFile(dir)); err != nil {
			t.Fatal(err)
		}
		if st, err := c.Status(t.Context()); err != nil || st.QueueSince.IsZero() {
			t.Errorf("status = %+v, %v; want something to be archived", st, err)
		}
		for {
			d, err := c.Changes(t.Context(), at, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if d == nil {
				break
			}
			lay(image, d)
			at = d.Last()
		}
		mustBeOnDevice(t, dir, image)
		if err := c.Archived(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if st, err := c.Status(t.Context()); err != nil || st.Archived != at || !st.QueueSince.IsZero() || st.QueueBytes != 0 {
			t.Errorf("status = %+v, %v; want all of it archived", st, err)
		}
		if _, err := c.Changes(t.Context(), at+1, 1); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("changes after a record that is not = %v; want invalid", err)
		}
	}
}

// An engine whose log begins later says so.
func TestChangesThatAreGone(t *testing.T) {
	dir, disk := newFolder(t)
	hollow := volume.Hollow{ID: testVolume, Size: size, LSN: 100, Epoch: 1, Present: func(int) bool { return true }}
	if err := volume.CreateHollow(disk, ".", hollow); err != nil {
		t.Fatal(err)
	}
	c := spawn(t, dir, 2)
	if _, err := c.Changes(t.Context(), 99, 1); !errors.Is(err, volume.ErrRecycled) {
		t.Errorf("changes after LSN 99 = %v; want recycled", err)
	}
	if d, err := c.Changes(t.Context(), 100, 1); d != nil || err != nil {
		t.Errorf("changes after LSN 100 = %v, %v; want none", d, err)
	}
	if st, err := c.Status(t.Context()); err != nil || st.Recycled != 100 {
		t.Errorf("status = %+v, %v; want recycled up to 100", st, err)
	}
}
