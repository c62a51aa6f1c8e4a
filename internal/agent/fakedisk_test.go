package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/delta"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/volume"
)

// fakeDisk is what a fake engine has of a volume: one record is one block that was written
// and flushed. It outlives the engine.
type fakeDisk struct {
	mu       sync.Mutex // guards everything below
	id       ballast.VolumeID
	epoch    ballast.Epoch
	size     int64
	log      []fakeRecord // of the records behind recycled
	recycled ballast.LSN
	archived ballast.LSN
	content  map[ballast.Block]byte // what each block is filled with
	changed  map[int]ballast.LSN    // per chunk
	missing  int
}

type fakeRecord struct {
	epoch ballast.Epoch
	block ballast.Block
	fill  byte
	at    time.Time
}

// diskLocked returns the disk of the volume in dir. The caller has m.mu.
func (m *machine) diskLocked(dir string) *fakeDisk {
	if m.disks[dir] == nil {
		m.disks[dir] = &fakeDisk{id: ballast.VolumeID(filepath.Base(dir)), size: ballast.DefaultVolumeSize, content: map[ballast.Block]byte{}, changed: map[int]ballast.LSN{}}
	}
	return m.disks[dir]
}

// diskOf returns what a volume has.
func (m *machine) diskOf(n *node, id ballast.VolumeID) *fakeDisk {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.diskLocked(n.path(volumeDir(id)))
}

// set says what the volume is.
func (d *fakeDisk) set(size int64, id ballast.VolumeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size, d.id = size, id
}

// write fills a block, and flushes; at is the time of the flush.
func (d *fakeDisk) write(block ballast.Block, fill byte, at time.Time) ballast.LSN {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, fakeRecord{d.epoch, block, fill, at})
	d.content[block] = fill
	d.changed[int(block*ballast.BlockSize/ballast.ChunkSize)] = d.lastLocked()
	return d.lastLocked()
}

func (d *fakeDisk) lastLocked() ballast.LSN { return d.recycled + ballast.LSN(len(d.log)) }

// recycle loses the records up to lsn.
func (d *fakeDisk) recycle(lsn ballast.LSN) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = d.log[lsn-d.recycled:]
	d.recycled = lsn
}

func (d *fakeDisk) acknowledged() ballast.LSN {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.archived
}

func (d *fakeDisk) status() engine.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := engine.Status{Durable: d.lastLocked(), Last: d.lastLocked(), Archived: d.archived, MissingChunks: d.missing, TotalChunks: int(d.size / ballast.ChunkSize)}
	if d.recycled > d.archived {
		st.Recycled = d.recycled
	}
	for i, r := range d.log {
		if r.epoch > st.Lineage.Epoch() {
			st.Lineage = append(st.Lineage, volume.Reign{Epoch: r.epoch, From: d.recycled + ballast.LSN(i) + 1})
		}
	}
	if d.epoch > st.Lineage.Epoch() {
		st.Lineage = append(st.Lineage, volume.Reign{Epoch: d.epoch, From: d.lastLocked() + 1})
	}
	return st
}

// lack says how many chunks are not here yet.
func (d *fakeDisk) lack(chunks int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.missing, d.archived = chunks, 0
}

// lose makes the disk that of a copy that lacks the records behind lsn.
func (d *fakeDisk) lose(lsn ballast.LSN) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log, d.archived = d.log[:lsn-d.recycled], min(d.archived, lsn)
	d.content, d.changed = map[ballast.Block]byte{}, map[int]ballast.LSN{}
	for i, r := range d.log {
		d.content[r.block] = r.fill
		d.changed[int(r.block*ballast.BlockSize/ballast.ChunkSize)] = d.recycled + ballast.LSN(i) + 1
	}
}

func (e *fakeEngine) Changes(ctx context.Context, after ballast.LSN, limit int64) (*delta.Delta, error) {
	if err := e.m.step(ctx, "changes"); err != nil {
		return nil, err
	}
	return e.disk.changes(after, limit)
}

func (d *fakeDisk) changes(after ballast.LSN, limit int64) (*delta.Delta, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if after >= d.lastLocked() {
		return nil, nil
	}
	if after < d.recycled {
		return nil, fmt.Errorf("read after %d: %w", after, volume.ErrRecycled)
	}
	out := &delta.Delta{Volume: d.id, Epoch: d.log[after-d.recycled].epoch, After: after}
	for i, r := range d.log[after-d.recycled:] {
		if r.epoch != out.Epoch || out.DataBytes() >= limit {
			break
		}
		out.Groups = append(out.Groups, delta.Group{
			Last: after + ballast.LSN(i) + 1, Time: r.at, Size: d.size,
			Runs: []delta.Run{{First: r.block, Count: 1}}, Data: bytes.Repeat([]byte{r.fill}, ballast.BlockSize),
		})
	}
	return out, nil
}

func (e *fakeEngine) Archived(ctx context.Context, lsn ballast.LSN) error {
	if err := e.m.step(ctx, "archived"); err != nil {
		return err
	}
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	e.disk.archived = max(e.disk.archived, lsn)
	return nil
}

func (e *fakeEngine) Snapshot(ctx context.Context, since ballast.LSN) (archiver.Snapshot, error) {
	if err := e.m.step(ctx, "snapshot"); err != nil {
		return nil, err
	}
	return e.disk.snapshot(e.m, since), nil
}

// fakeSnapshot is a disk at one moment.
type fakeSnapshot struct {
	m      *machine
	info   archive.SnapshotInfo
	chunks []int
	data   map[int][]byte
}

func (d *fakeDisk) snapshot(m *machine, since ballast.LSN) *fakeSnapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.lastLocked()
	s := &fakeSnapshot{m: m, data: map[int][]byte{}, info: archive.SnapshotInfo{Volume: d.id, LSN: last, Epoch: d.epoch, Size: d.size, Time: d.log[len(d.log)-1].at, Since: since}}
	for chunk, lsn := range d.changed {
		if lsn > since {
			s.chunks = append(s.chunks, chunk)
			s.data[chunk] = d.chunkLocked(chunk)
		}
	}
	slices.Sort(s.chunks)
	return s
}

// chunkLocked returns the bytes of a chunk.
func (d *fakeDisk) chunkLocked(chunk int) []byte { return chunkOf(d.content, chunk) }

func chunkOf(content map[ballast.Block]byte, chunk int) []byte {
	p := make([]byte, ballast.ChunkSize)
	const blocks = ballast.ChunkSize / ballast.BlockSize
	for block, fill := range content {
		if int(block/blocks) == chunk {
			at := int(block%blocks) * ballast.BlockSize
			copy(p[at:], bytes.Repeat([]byte{fill}, ballast.BlockSize))
		}
	}
	return p
}

func (s *fakeSnapshot) Info() archive.SnapshotInfo { return s.info }

func (s *fakeSnapshot) Next(ctx context.Context) (int, []byte, error) {
	if err := s.m.step(ctx, "next"); err != nil {
		return 0, nil, err
	}
	if len(s.chunks) == 0 {
		return 0, nil, io.EOF
	}
	chunk := s.chunks[0]
	s.chunks = s.chunks[1:]
	return chunk, s.data[chunk], nil
}

func (s *fakeSnapshot) Close() error { return nil }
