package archive

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// maxFrames bounds the frames in memory: 32 MiB.
const maxFrames = 32 << 20 / (tail.FrameBlocks * ballast.BlockSize)

// frames reads data of the tail, each frame once as long as it is remembered.
type frames struct {
	store   store.Store
	sealer  tail.Sealer
	headers []*planned
	scratch Scratch // may be nil
	first   []int   // of each object: the number of its first frame among all

	mu     sync.Mutex // guards what follows
	kept   []bool     // frames that are in scratch
	loaded map[int]*frame
	used   *list.List // of *frame, the last used one in front
}

// frame is one that is being fetched, or was.
type frame struct {
	number int
	done   chan struct{} // closed when data and err are set
	data   []byte
	err    error
	place  *list.Element
}

func newFrames(st store.Store, sealer tail.Sealer, headers []*planned, scratch Scratch) *frames {
	f := &frames{store: st, sealer: sealer, headers: headers, scratch: scratch, loaded: map[int]*frame{}, used: list.New()}
	total := 0
	for _, h := range headers {
		f.first = append(f.first, total)
		total += len(h.Frames)
	}
	f.kept = make([]bool, total)
	return f
}

// read copies blocks of an object's data, from one of them on.
func (f *frames) read(ctx context.Context, object, from uint32, dst []byte) error {
	for len(dst) > 0 {
		i, at := int(from/tail.FrameBlocks), int(from%tail.FrameBlocks)
		n := min(len(dst), (tail.FrameBlocks-at)*ballast.BlockSize)
		if err := f.readFrame(ctx, object, i, int64(at)*ballast.BlockSize, dst[:n]); err != nil {
			return err
		}
		from, dst = from+uint32(n/ballast.BlockSize), dst[n:]
	}
	return nil
}

// readFrame copies a part of one frame.
func (f *frames) readFrame(ctx context.Context, object uint32, i int, off int64, dst []byte) error {
	h := f.headers[object]
	if i >= len(h.Frames) {
		return fmt.Errorf("%s has no frame %d: %w", h.name, i, ballast.ErrInvalid)
	}
	number := f.first[object] + i
	data, err := f.load(ctx, h, i, number)
	if err != nil {
		return fmt.Errorf("read frame %d of %s: %w", i, h.name, err)
	}
	if data == nil {
		_, err := f.scratch.ReadAt(dst, int64(number)*tail.FrameBlocks*ballast.BlockSize+off)
		return err
	}
	if off+int64(len(dst)) > int64(len(data)) {
		return fmt.Errorf("read %s: frame %d ends early: %w", h.name, i, ballast.ErrInvalid)
	}
	copy(dst, data[off:])
	return nil
}

// load returns a frame's data, fetching it if nobody does; nil: scratch has it.
func (f *frames) load(ctx context.Context, h *planned, i, number int) ([]byte, error) {
	for {
		fr, mine := f.enter(number)
		if fr == nil {
			return nil, nil
		}
		if mine {
			fr.data, fr.err = f.fetch(ctx, h, i)
			f.leave(fr)
			close(fr.done)
			return fr.data, fr.err
		}
		select {
		case <-fr.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if !errors.Is(fr.err, context.Canceled) && !errors.Is(fr.err, context.DeadlineExceeded) {
			return fr.data, fr.err
		}
		// Whoever fetched it gave up; that is no reason for us to.
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
	}
}

// enter returns a frame, and whether the caller is to fetch it; none when scratch has it.
// Both are asked under one lock: a frame leaves memory in the moment it is in scratch.
func (f *frames) enter(number int) (fr *frame, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept[number] {
		return nil, false
	}
	if fr := f.loaded[number]; fr != nil {
		f.used.MoveToFront(fr.place)
		return fr, false
	}
	fr = &frame{number: number, done: make(chan struct{})}
	fr.place = f.used.PushFront(fr)
	f.loaded[number] = fr
	for f.used.Len() > maxFrames {
		f.forgetLocked(f.used.Back().Value.(*frame))
	}
	return fr, true
}

// leave keeps a fetched frame, and forgets one that failed.
func (f *frames) leave(fr *frame) {
	stored := false
	if fr.err == nil && f.scratch != nil {
		// Without room there it is fetched again when it is needed again.
		_, err := f.scratch.WriteAt(fr.data, int64(fr.number)*tail.FrameBlocks*ballast.BlockSize)
		stored = err == nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept[fr.number] = stored; stored || fr.err != nil {
		f.forgetLocked(fr)
	}
}

func (f *frames) forgetLocked(fr *frame) {
	if f.loaded[fr.number] == fr {
		delete(f.loaded, fr.number)
		f.used.Remove(fr.place)
	}
}

// fetch reads a frame from the store; nothing is returned that is not verified (H2).
func (f *frames) fetch(ctx context.Context, h *planned, i int) ([]byte, error) {
	sealed, err := f.store.Get(ctx, h.name, h.Frames[i].Offset, h.Frames[i].Length)
	if err != nil {
		return nil, err
	}
	data, err := h.DecodeFrame(i, sealed, f.sealer)
	if err != nil {
		return nil, &tail.DamageError{Object: h.name, Err: err}
	}
	return data, nil
}
