package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
)

const (
	fetchers    = 4                     // chunks that one caller fetches at a time
	firstRetry  = 50 * time.Millisecond // after a fetch that failed
	lastRetry   = 2 * time.Second       // the pause doubles up to this
	settleAfter = 32                    // chunks that arrived; then the table is written
)

var chunkBuffers = sync.Pool{New: func() any { return new([ballast.ChunkSize]byte) }}

// obtainAll returns once all chunks are here, or one of them could not be
// fetched within the budget. The caller holds no lock: a fetch takes as long as
// the network pleases.
func (v *Volume) obtainAll(ctx context.Context, chunks []int) error {
	v.hydration.attend(+1)
	defer v.hydration.attend(-1)
	if len(chunks) == 1 {
		return v.obtain(ctx, chunks[0])
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(v.opts.fetchers)
	for _, chunk := range chunks {
		all.Go(func() error { return v.obtain(ctx, chunk) })
	}
	return all.Wait()
}

// obtain asks for a chunk until it is here or the budget is used up.
func (v *Volume) obtain(ctx context.Context, chunk int) error {
	ctx, cancel := context.WithTimeout(ctx, v.opts.FetchBudget)
	defer cancel()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := v.tryObtain(ctx, chunk)
		if err == nil {
			return nil
		}
		if errors.Is(err, errNoSource) || errors.Is(err, ballast.ErrNotFound) || !wait(ctx, pause) {
			return fmt.Errorf("chunk %d: %w: %w", chunk, ErrMissing, err)
		}
	}
}

// wait reports whether the time has passed, and ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// tryObtain makes one attempt to have a chunk, or waits for that of another.
func (v *Volume) tryObtain(ctx context.Context, chunk int) error {
	f, mine := v.hydration.board(chunk)
	switch {
	case f == nil:
		return nil
	case mine:
		return v.fly(ctx, f)
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly fetches a chunk for all who wait for it.
func (v *Volume) fly(ctx context.Context, f *flight) error {
	defer v.hydration.land(f)
	buf := chunkBuffers.Get().(*[ballast.ChunkSize]byte)
	defer chunkBuffers.Put(buf)
	f.err = v.fetchChunk(ctx, f.chunk, buf[:])
	return f.err
}

func (v *Volume) fetchChunk(ctx context.Context, chunk int, buf []byte) error {
	if v.hydration.source == nil {
		return errNoSource
	}
	err := v.hydration.source.Fetch(ctx, chunk, buf)
	if err == nil {
		err = v.install(chunk, buf)
	}
	if !errors.Is(err, context.Canceled) { // whoever gave up says nothing of the source
		v.noteFetch(err)
	}
	return err
}

func (v *Volume) noteFetch(err error) {
	news := v.hydration.note(err)
	switch {
	case news && err != nil:
		v.opts.Log.Warn("fetching chunks fails", "volume", v.id, "missing", v.hydration.left.Load(), "error", err)
	case news:
		v.opts.Log.Info("fetching chunks works again", "volume", v.id, "missing", v.hydration.left.Load())
	}
}

// install puts a chunk that was fetched into the image, where from now on it is
// read, unless newer bytes cover it. A failure claims nothing.
func (v *Volume) install(chunk int, p []byte) (err error) {
	h := &v.hydration
	h.installing.Lock()
	defer h.installing.Unlock()
	if !h.isMissing(chunk) {
		return nil
	}
	off := int64(chunk) * ballast.ChunkSize
	if bytes.Equal(p, zeroChunk[:]) {
		err = v.image.Punch(off, ballast.ChunkSize) // a crash may have left something there
	} else {
		_, err = v.image.WriteAt(p, off)
	}
	if err == nil {
		h.arrive(chunk)
	}
	return err
}
