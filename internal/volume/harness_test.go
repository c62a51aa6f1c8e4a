package volume

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	testDir    = "v"
	testSize   = ballast.ChunkSize // 256 blocks
	testBlocks = testSize / blockSize
)

// small makes everything happen often: segments of 16 blocks, six of them.
var small = descriptor{Format: 1, ID: "test", Size: testSize, Segment: 16 * blockSize, Salt: 0x5a17}

func makeSmall(t testing.TB, fsys vfs.FS) {
	t.Helper()
	if err := fsys.Mkdir(testDir); err != nil {
		t.Fatal(err)
	}
	d := small
	if err := create(fsys, testDir, &d, func(*chunks) {}); err != nil {
		t.Fatal(err)
	}
	if err := fsys.SyncDir("."); err != nil {
		t.Fatal(err)
	}
}

func openSmall(fsys vfs.FS, epoch ballast.Epoch) (*Volume, error) {
	return openQueue(fsys, epoch, 0)
}

// openQueue opens the small volume with a queue of so many bytes.
func openQueue(fsys vfs.FS, epoch ballast.Epoch, queue int64) (*Volume, error) {
	return Open(fsys, testDir, Options{Epoch: epoch, LogCapacity: 6 * small.Segment, Queue: queue})
}

// model knows what every block held after every record. The tag of a version
// is what its bytes are made from; 0 stands for zeros.
type model struct {
	versions [testBlocks][]version // oldest first
	last     ballast.LSN
	acked    ballast.LSN // a Flush has promised this much
	tags     uint64
}

type version struct {
	lsn ballast.LSN
	tag uint64
}

func (m *model) record(tag uint64, first, count int) {
	m.last++
	for b := first; b < first+count; b++ {
		m.versions[b] = append(m.versions[b], version{m.last, tag})
	}
}

// at returns the tag of a block after record lsn.
func (m *model) at(block int, lsn ballast.LSN) (tag uint64) {
	for _, v := range m.versions[block] {
		if v.lsn > lsn {
			break
		}
		tag = v.tag
	}
	return tag
}

// cut forgets what came after lsn.
func (m *model) cut(lsn ballast.LSN) {
	for b, vs := range m.versions {
		for len(vs) > 0 && vs[len(vs)-1].lsn > lsn {
			vs = vs[:len(vs)-1]
		}
		m.versions[b] = vs
	}
	m.last = lsn
}

// paint fills a block with what its tag says.
func paint(p []byte, tag uint64, block int) {
	if tag == 0 {
		clear(p)
		return
	}
	var pattern [16]byte
	binary.LittleEndian.PutUint64(pattern[:], tag)
	binary.LittleEndian.PutUint64(pattern[8:], uint64(block))
	for n := copy(p, pattern[:]); n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}

// verify holds the volume against the model: it must be the state after its
// last record, and hold at least what was acknowledged.
func (m *model) verify(v *Volume) error {
	last := v.Stats().Last
	if last < m.acked || last > m.last {
		return fmt.Errorf("last LSN = %d; want within %d (acknowledged) and %d (written)", last, m.acked, m.last)
	}
	got, want := make([]byte, testSize), make([]byte, blockSize)
	if _, err := v.ReadAt(got, 0); err != nil {
		return err
	}
	for b := range testBlocks {
		tag := m.at(b, last)
		paint(want, tag, b)
		if !bytes.Equal(got[b*blockSize:(b+1)*blockSize], want) {
			return fmt.Errorf("block %d after LSN %d is not version %d: % x…", b, last, tag, got[b*blockSize:b*blockSize+16])
		}
	}
	return nil
}

// worker does random work on a volume and keeps the model in step.
type worker struct {
	model
	rng   *rand.Rand
	v     *Volume
	queue int64 // bytes
}

// step does one thing. An error says that the volume refused it.
func (w *worker) step() error {
	switch n := w.rng.IntN(20); {
	case n < 11:
		return w.write()
	case n < 13:
		return w.discard()
	case n < 18:
		return w.flush()
	default:
		return foldNow(w.v)
	}
}

// foldNow makes a round of apply.
func foldNow(v *Volume) error {
	return v.whenReady(context.Background(), func() error {
		v.applying.Lock()
		defer v.applying.Unlock()
		return v.round(fullSpeed)
	})
}

func (w *worker) span(limit int) (first, count int) {
	count = 1 + w.rng.IntN(limit)
	return w.rng.IntN(testBlocks - count + 1), count
}

func (w *worker) write() error {
	first, count := w.span(6)
	w.tags++
	p := make([]byte, count*blockSize)
	for i := range count {
		paint(p[i*blockSize:(i+1)*blockSize], w.tags, first+i)
	}
	w.record(w.tags, first, count) // before, so that a cut in the middle finds it
	_, err := w.v.WriteAt(p, int64(first)*blockSize)
	return err
}

func (w *worker) discard() error {
	first, count := w.span(40)
	w.record(0, first, count)
	return w.v.Discard(int64(first)*blockSize, int64(count)*blockSize)
}

func (w *worker) flush() error {
	promised := w.last
	err := w.v.Flush()
	if err == nil {
		w.acked = promised
	}
	return err
}

// reopened opens what a power cut left, and verifies it.
func (w *worker) reopened(fsys *crashfs.FS) (*Volume, error) {
	return w.reopenedUnder(fsys, w.v.Epoch()+1)
}

func (w *worker) reopenedUnder(fsys *crashfs.FS, epoch ballast.Epoch) (*Volume, error) {
	v, err := openQueue(fsys, epoch, w.queue)
	if err != nil {
		return nil, err
	}
	return v, w.verify(v)
}
