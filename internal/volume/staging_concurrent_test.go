package volume

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ballast-io/ballast"
)

// TestStageBesideReaders reads chunks of a copy while it is brought from one point to another
// and back again, and Run is at work: each is all of the one or all of the other (V11).
func TestStageBesideReaders(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 66))
	r := newRebuilt(t, rng)
	fill := func(tag uint64) {
		t.Helper()
		p := make([]byte, ballast.ChunkSize)
		for chunk := range sheetChunks {
			for b := range blocksPerChunk {
				paint(p[b*blockSize:][:blockSize], tag, 0)
			}
			if _, err := r.v.WriteAt(p, int64(chunk)*ballast.ChunkSize); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.chunks(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fill(1)
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		if err := r.f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for chunk := range 2 {
		working.Go(func() { readWhole(ctx, t, r.f, chunk) })
	}
	working.Go(func() {
		for ctx.Err() == nil {
			_ = r.f.Changed(r.f.State().Applied) // whatever it is
			if _, err := r.f.Sync(); err != nil {
				t.Error(err)
			}
		}
	})
	for tag := range uint64(2 + 10/share) {
		fill(2 + tag)
	}
	stop()
	working.Wait()
	if err := r.f.Close(); err != nil {
		t.Error(err)
	}
}

// readWhole wants every block of a chunk to be of one time.
func readWhole(ctx context.Context, t *testing.T, f *Follower, chunk int) {
	p := make([]byte, ballast.ChunkSize)
	for ctx.Err() == nil {
		err := f.ReadChunk(ctx, chunk, p)
		switch {
		case ctx.Err() != nil || errors.Is(err, ballast.ErrNotReady): // it is being merged
			continue
		case err != nil:
			t.Error(err)
			return
		}
		for b := blockSize; b < len(p); b += blockSize {
			if !bytes.Equal(p[:blockSize], p[b:b+blockSize]) {
				t.Errorf("chunk %d is of two times: % x… and % x…", chunk, p[:8], p[b:b+8])
				return
			}
		}
	}
}
