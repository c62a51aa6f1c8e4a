package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

const (
	hollowLSN   = 100
	hollowEpoch = 7
)

var errAway = errors.New("the archive is away")

// original is a source: the bytes that a volume had when it was made.
type original struct {
	p []byte

	mu      sync.Mutex // guards everything below
	fetched []int
	fail    func(chunk int) error
}

func (o *original) Fetch(ctx context.Context, chunk int, p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fetched = append(o.fetched, chunk)
	if o.fail != nil {
		if err := o.fail(chunk); err != nil {
			_ = copy(p, "half of what was asked for") // must not be taken for it
			return err
		}
	}
	copy(p, o.p[chunk*ballast.ChunkSize:])
	return ctx.Err()
}

func (o *original) failWith(fail func(chunk int) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = fail
}

// slow is a source that takes its time, or waits for ever.
type slow struct {
	Source
	delay time.Duration // 0: for ever
}

func (s slow) Fetch(ctx context.Context, chunk int, p []byte) error {
	if s.delay == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	if !wait(ctx, s.delay) {
		return ctx.Err()
	}
	return s.Source.Fetch(ctx, chunk, p)
}

// hollowSheet makes a hollow volume, of which some chunks are zeros, and its
// source.
func hollowSheet(t *testing.T, disk vfs.FS, rng *rand.Rand, chunks int, lsn ballast.LSN) (*sheet, *original) {
	t.Helper()
	s := newSheet(rng, chunks)
	s.sheetOf(lsn)
	o := &original{p: make([]byte, chunks*ballast.ChunkSize)}
	for b := range s.versions {
		paint(o.p[b*blockSize:(b+1)*blockSize], versionAt(s.versions[b], lsn), b)
	}
	d := small
	d.Size = int64(len(o.p))
	h := Hollow{ID: d.ID, Size: d.Size, LSN: lsn, Epoch: hollowEpoch, Present: func(chunk int) bool {
		return bytes.Equal(o.p[chunk*ballast.ChunkSize:(chunk+1)*ballast.ChunkSize], zeroChunk[:]) && chunk%2 == 0
	}}
	if err := errors.Join(disk.Mkdir(testDir), createHollow(disk, testDir, &d, h), disk.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	return s, o
}

// sheetOf fills the sheet with what a volume might hold: chunks of zeros, chunks
// with some blocks, and full ones.
func (s *sheet) sheetOf(lsn ballast.LSN) {
	s.last, s.acked = lsn, lsn
	for chunk := range s.blocks() / blocksPerChunk {
		every := []int{0, 1, 3}[s.rng.IntN(3)]
		for b := chunk * blocksPerChunk; every > 0 && b < (chunk+1)*blocksPerChunk; b += every {
			s.tags++
			s.versions[b] = []version{{lsn, s.tags}}
		}
	}
}

func openHollow(fsys vfs.FS, epoch ballast.Epoch, source Source) (*Volume, error) {
	return Open(fsys, testDir, Options{
		Epoch: epoch, LogCapacity: 6 * small.Segment,
		Source: source, FetchBudget: 100 * time.Millisecond, fetchers: 1, // in an order that a seed repeats
	})
}

// hydrater does random work on a hollow volume whose source fails now and then,
// and whose disk loses power.
type hydrater struct {
	*sheet
	source *original
	disk   *crashfs.FS
	cuts   int
}

func (h *hydrater) step(ctx context.Context) error {
	var err error
	switch h.rng.IntN(16) {
	case 0:
		err = h.v.keepArrived()
	case 1, 2:
		err = h.fetchOne(ctx)
	default:
		err = h.sheet.step(ctx)
	}
	if errors.Is(err, ErrMissing) || errors.Is(err, errAway) {
		h.cut(h.v.Stats().Last) // a write for which there was no room is in no record
		return h.v.Err()
	}
	return err
}

// fetchOne does what Run does in the background.
func (h *hydrater) fetchOne(ctx context.Context) error {
	f, why, _ := h.v.hydration.next(time.Now())
	if f == nil {
		return nil
	}
	err := h.v.fly(ctx, f)
	h.v.hydration.landed(why, err, time.Now())
	return err
}

// check opens what a power cut left, and wants all of it to be right: what was
// fetched, what was written over it, and what is still to come.
func (h *hydrater) check(after *crashfs.FS) error {
	rep, err := Check(after, testDir)
	if err != nil || len(rep.Damage) > 0 {
		return fmt.Errorf("check: %w %v", err, rep.Damage)
	}
	v, err := openHollow(after, h.v.Epoch()+1, &original{p: h.source.p})
	if err != nil {
		return err
	}
	if missing := v.Stats().MissingChunks; missing != rep.Missing {
		return fmt.Errorf("%d chunks are missing; Check says %d", missing, rep.Missing)
	}
	return h.verify(v)
}

func (h *hydrater) reopen(t *testing.T, epoch ballast.Epoch) {
	t.Helper()
	h.disk.BeforeEach(nil)
	v, err := openHollow(h.disk, epoch, h.source)
	if err != nil {
		t.Fatal(err)
	}
	h.v = v
	h.cut(v.Stats().Last)
	h.acked = h.last
	h.disk.BeforeEach(func(op int) {
		if h.rng.IntN(4) > 0 {
			return
		}
		h.cuts++
		if err := h.check(h.disk.PowerCut(h.rng)); err != nil {
			t.Errorf("cut %d, before operation %d: %v", h.cuts, op, err)
		}
	})
}

// someChunk returns a chunk that is not all zeros.
func (s *sheet) someChunk() int {
	return slices.IndexFunc(s.versions, func(vs []version) bool { return len(vs) > 0 }) / blocksPerChunk
}
