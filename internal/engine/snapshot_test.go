package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/volume"
)

var _ archive.BaseSource = (*SnapshotStream)(nil)

// read lays the rest of a snapshot over an image.
func read(t *testing.T, s *SnapshotStream, image []byte) (chunks int, err error) {
	for {
		chunk, data, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return chunks, nil
		}
		if err != nil {
			return chunks, err
		}
		at := image[chunk*ballast.ChunkSize:][:ballast.ChunkSize]
		clear(at)
		copy(at, data)
		chunks++
	}
}

func TestSnapshot(t *testing.T) {
	dir := newVolume(t)
	c := spawn(t, dir, 1)
	mountpoint := attach(t, dir)
	put(t, filepath.Join(mountpoint, "f"), "kept")
	if err := device.Detach(t.Context(), DeviceFile(dir)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Snapshot(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := c.Snapshot(t.Context(), 0); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("second snapshot = %v; want in use", err)
	}
	image := make([]byte, size)
	if _, err := read(t, s, image); err != nil {
		t.Fatal(err)
	}
	mustBeOnDevice(t, dir, image)
	st, err := c.Status(t.Context())
	if info := s.Info(); err != nil || info.LSN != st.Last || info.Volume != testVolume || info.Size != size || info.Epoch != 1 || info.Time.IsZero() {
		t.Errorf("snapshot is of %+v (%v); the volume ends at %d", info, err, st.Last)
	}
	var next *SnapshotStream
	eventually(t, "the engine has noticed that the first one is closed", func() bool {
		next, err = c.Snapshot(t.Context(), s.Info().LSN)
		return !errors.Is(err, ballast.ErrInUse)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if n, err := read(t, next, image); n != 0 || err != nil {
		t.Errorf("nothing changed, and %d chunks came (%v)", n, err)
	}
}

// N6: an engine that dies under a reader leaves an error, not a short snapshot.
func TestSnapshotOfDeadEngine(t *testing.T) {
	dir := newVolume(t)
	c := spawn(t, dir, 1)
	attach(t, dir)
	if err := device.Detach(t.Context(), DeviceFile(dir)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Snapshot(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Kill(), c.Wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, make([]byte, size)); err == nil {
		t.Error("the snapshot of a dead engine ended well")
	}
}

// stream is a snapshot of a small volume as it travels: chunks 0 and 2 have data, chunk 1
// is zeros.
func streamed(t *testing.T) []byte {
	t.Helper()
	disk := crashfs.New()
	if err := volume.Create(disk, ".", volume.Identity{ID: testVolume, Size: 3 << 20}); err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(disk, ".", volume.Options{Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	for chunk, fill := range []byte{1, 0, 3} {
		if _, err := v.WriteAt(bytes.Repeat([]byte{fill}, ballast.BlockSize), int64(chunk)*ballast.ChunkSize); err != nil {
			t.Fatal(err)
		}
	}
	s, err := v.Snapshot(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := errors.Join(sendSnapshot(&b, s, testVolume, 0), s.Close(), v.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// outcome reads a stream to its end.
func outcome(t *testing.T, b []byte) (chunks int, err error) {
	s, err := readSnapshot(io.NopCloser(bytes.NewReader(b)))
	if err != nil {
		return 0, err
	}
	s.cancel = func() {}
	return read(t, s, make([]byte, s.Info().Size))
}

// N6: a stream that is cut anywhere is an error.
func TestSnapshotIsNeverShort(t *testing.T) {
	whole := streamed(t)
	if n, err := outcome(t, whole); n != 3 || err != nil {
		t.Fatalf("whole stream = %d chunks, %v; want 3", n, err)
	}
	for n := 0; n < len(whole); n += max(1, min(997, len(whole)-n-50)) {
		if _, err := outcome(t, whole[:n]); err == nil {
			t.Errorf("stream cut at byte %d of %d ended well", n, len(whole))
		}
	}
}

func TestSnapshotIsHeldToItsForm(t *testing.T) {
	whole := streamed(t)
	first := bytes.IndexByte(whole, '\n') + 1
	second := first + frameSize + ballast.ChunkSize
	last := len(whole) - frameSize
	number := func(at int, n uint32) []byte {
		b := slices.Clone(whole)
		binary.LittleEndian.PutUint32(b[at:], n)
		return b
	}
	kind := func(at int, k byte) []byte {
		b := slices.Clone(whole)
		b[at+4] = k
		return b
	}
	for name, b := range map[string][]byte{
		"no head":                    whole[first:],
		"no size":                    append([]byte("{}\n"), whole[first:]...),
		"chunk beyond the end":       number(first, 3),
		"chunk twice":                number(second, 0),
		"a chunk too few":            number(last, 4),
		"a chunk too many":           number(last, 2),
		"unknown kind":               kind(second, 9),
		"the engine says it failed":  kind(last, frameFailed),
		"the engine fails at length": append(number(last, 1<<31)[:last+4], frameFailed),
	} {
		if _, err := outcome(t, b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
