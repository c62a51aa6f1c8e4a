package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// sparse is a large volume of which few chunks have bytes: each all of one letter.
type sparse struct {
	info   SnapshotInfo
	chunks map[int]byte // 0: zeros
	todo   []int
}

func (s *sparse) Info() SnapshotInfo { return s.info }

func (s *sparse) Next(context.Context) (int, []byte, error) {
	if len(s.todo) == 0 {
		return 0, nil, io.EOF
	}
	i := s.todo[0]
	s.todo = s.todo[1:]
	if s.chunks[i] == 0 {
		return i, nil, nil
	}
	return i, bytes.Repeat([]byte{s.chunks[i]}, ballast.ChunkSize), nil
}

// A volume of several folders: what did not change costs nothing, whatever the volume
// grows to, and opening it reads no data.
func TestLargeVolume(t *testing.T) {
	st := storetest.NewFaulty(newMemory())
	a := newArchive(t, st)
	m := newModel(t, a, 1, volumeID(1), 16)
	m.open()
	was := map[int]byte{}
	var parent *Base
	for i, tt := range []struct {
		chunks int
		change map[int]byte
		added  int // chunks, at most
	}{
		{3 * folderChunks, map[int]byte{0: 'a', 1023: 'b', 1024: 'c', 3071: 'd'}, 5},
		{3 * folderChunks, map[int]byte{1024: 'e'}, 1},
		{3*folderChunks + 70, map[int]byte{3072: 'f', 3071: 0, 3141: 'g'}, 2}, // grown
		{3*folderChunks + 70, nil, 0},
		{5 * folderChunks, map[int]byte{4500: 'a'}, 0}, // known already
	} {
		m.write(0, 1) // an LSN further
		m.ship()
		maps.Copy(was, tt.change)
		src := &sparse{
			info:   SnapshotInfo{Volume: m.id, LSN: m.lsn, Epoch: m.epoch, Size: int64(tt.chunks) * ballast.ChunkSize, Time: m.now},
			chunks: was, todo: slices.Sorted(maps.Keys(tt.change)),
		}
		if parent != nil {
			src.info.Since = parent.Point.LSN
		}
		var last Progress
		b, err := a.WriteBase(t.Context(), src, Volume{Name: m.name, Spec: m.spec(), Node: "n1"}, parent, nil, func(p Progress) { last = p })
		if err != nil {
			t.Fatal(err)
		}
		if limit := int64(tt.added+1) * ballast.ChunkSize; b.Added > limit { // and trees
			t.Errorf("base %d added %d bytes; want up to %d", i, b.Added, limit)
		}
		if last.Done != last.Total || last.Total != src.info.Size {
			t.Errorf("base %d ended with progress %+v", i, last)
		}
		parent = b
		before := len(st.Calls())
		s := openBase(t, again(t, a, st), b)
		if n := len(st.Calls()) - before; n > 40 {
			t.Errorf("base %d: opening it took %d requests", i, n)
		}
		checkSparse(t, s, was, tt.chunks)
	}
}

func openBase(t *testing.T, a *Archive, b *Base) *Source {
	t.Helper()
	plan, err := a.Plan(t.Context(), b.Volume, When{Snapshot: b.Snapshot.String()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Source(t.Context(), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func checkSparse(t *testing.T, s *Source, want map[int]byte, chunks int) {
	t.Helper()
	if s.Size() != int64(chunks)*ballast.ChunkSize {
		t.Fatalf("size is %d; want %d chunks", s.Size(), chunks)
	}
	p := make([]byte, ballast.ChunkSize)
	for chunk := range chunks {
		if s.Present(chunk) != (want[chunk] == 0) {
			t.Fatalf("chunk %d: present = %t", chunk, s.Present(chunk))
		}
		if want[chunk] == 0 && chunk%500 > 0 {
			continue
		}
		if err := s.Fetch(t.Context(), chunk, p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, bytes.Repeat([]byte{want[chunk]}, len(p))) {
			t.Fatalf("chunk %d begins with %q; want %q", chunk, p[:4], want[chunk])
		}
	}
}

// With a scratch file, and many who fetch at once, no frame of the tail is fetched twice.
func TestScratchFetchesEachFrameOnce(t *testing.T) {
	st := storetest.NewFaulty(newMemory())
	a := newArchive(t, st)
	m := newModel(t, a, 1, volumeID(1), 16)
	m.open()
	for range 8 {
		for b := range 60 { // scattered over all chunks
			m.write((b*67+m.rng.IntN(60))%(16*chunkBlocks), 1)
		}
		m.ship()
	}
	plan, err := a.Plan(t.Context(), m.id, When{})
	if err != nil {
		t.Fatal(err)
	}
	scratch, err := os.Create(filepath.Join(t.TempDir(), "scratch"))
	if err != nil {
		t.Fatal(err)
	}
	defer scratch.Close()
	s, err := a.Source(t.Context(), plan, scratch)
	if err != nil {
		t.Fatal(err)
	}
	before := len(st.Calls())
	var all sync.WaitGroup
	for chunk := range 16 {
		for range 2 {
			all.Go(func() {
				p := make([]byte, ballast.ChunkSize)
				if err := s.Fetch(t.Context(), chunk, p); err != nil {
					t.Error(err)
				} else if !bytes.Equal(p, m.data[chunk*ballast.ChunkSize:(chunk+1)*ballast.ChunkSize]) {
					t.Errorf("chunk %d differs", chunk)
				}
			})
		}
	}
	all.Wait()
	frames := 0
	for _, h := range s.frames.headers {
		frames += len(h.Frames)
	}
	if n := len(st.Calls()) - before; n > frames {
		t.Errorf("%d requests for %d frames", n, frames)
	}
}

// One who stops waiting does not fail those who fetch the same.
func TestFetchIsCancelledForOneAlone(t *testing.T) {
	st := storetest.NewFaulty(newMemory())
	a := newArchive(t, st)
	m := newModel(t, a, 1, volumeID(1), 16)
	m.open()
	m.write(0, 10)
	m.ship()
	plan, err := a.Plan(t.Context(), m.id, When{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Source(t.Context(), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	started, first := make(chan struct{}), true
	st.FailWith(func(storetest.Call) storetest.Fault {
		if !first {
			return storetest.Fault{}
		}
		first = false
		close(started)
		return storetest.Fault{Wait: make(chan struct{})}
	})
	impatient, stop := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- s.Fetch(impatient, 0, make([]byte, ballast.ChunkSize)) }()
	<-started
	patient := make(chan error, 1)
	go func() { patient <- s.Fetch(t.Context(), 0, make([]byte, ballast.ChunkSize)) }()
	stop()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that stopped got %v", err)
	}
	if err := <-patient; err != nil {
		t.Errorf("the other got %v", err)
	}
}

// A stream ends with its first error, its reader's too, and leaves nothing behind.
func TestStreamEnds(t *testing.T) {
	a := newArchive(t, newMemory())
	m := newModel(t, a, 1, volumeID(1), 16)
	m.open()
	m.write(0, 16*chunkBlocks)
	m.base(false)
	s := openBase(t, a, m.bases[0])
	enough := errors.New("enough")
	for _, at := range []int{0, 7, 15} {
		err := s.Stream(t.Context(), func(chunk int, _ []byte) error {
			if chunk == at {
				return enough
			}
			return nil
		}, nil)
		if !errors.Is(err, enough) {
			t.Errorf("stream = %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Stream(ctx, func(chunk int, _ []byte) error {
		if chunk == 3 {
			cancel()
		}
		return nil
	}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled stream = %v", err)
	}
}

// What cannot be carried out is refused, and not carried out in part.
func TestPlanOfAnotherVersionIsRefused(t *testing.T) {
	a := newArchive(t, newMemory())
	for _, p := range []*Plan{
		{Format: planFormat + 1, Point: tail.Point{Size: ballast.ChunkSize}},
		{Format: planFormat, Point: tail.Point{Size: 1000}},
		{Format: planFormat},
	} {
		if _, err := a.Source(t.Context(), p, nil); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("source of %+v = %v", p, err)
		}
	}
}
