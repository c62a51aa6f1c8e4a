package volume

import (
	"context"
	"fmt"

	"github.com/ballast-io/ballast"
)

// ReadChunk fills p, which is one chunk long, with a chunk's bytes at some LSN up to the
// committed one, and not before the beginning of the epoch that is followed: for a
// leader that began there without the bytes. The error is [ballast.ErrNotReady]
// while the copy has not come that far.
func (f *Follower) ReadChunk(ctx context.Context, chunk int, p []byte) error {
	v := f.v
	off := int64(chunk) * ballast.ChunkSize
	if len(p) != ballast.ChunkSize || chunk < 0 {
		return ErrRange
	}
	for ctx.Err() == nil {
		pieces, turn, err := v.locateSettled(p, off)
		if err != nil {
			return fmt.Errorf("read chunk %d of copy of volume %s: %w", chunk, v.id, err)
		}
		if err = v.fetch(pieces); v.stillThere(pieces) && v.isTurn(turn) {
			return err
		}
	}
	return context.Cause(ctx)
}

// locateSettled is locate for what no later leader can cut. It also says in which
// turn of the history that was: in another one the image may be another's (R6).
func (v *Volume) locateSettled(p []byte, off int64) (_ []piece, turn int, err error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var base ballast.LSN // what the present leader began with
	if h := v.log.history; len(h) > 0 {
		base = h[len(h)-1].From - 1
	}
	if err := v.usable(); err != nil {
		return nil, 0, err // the image of a copy that failed may not be what it took
	}
	if !v.isComplete() || v.log.last < base || v.promised > v.log.history.Epoch() {
		return nil, 0, fmt.Errorf("%w: it is at LSN %d and complete: %t; its leader began at %d", ballast.ErrNotReady, v.log.last, v.isComplete(), base)
	}
	pieces, err := v.locateUpTo(nil, p, off, max(base, v.committed))
	return pieces, v.log.turns, err
}

func (v *Volume) isTurn(turn int) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.log.turns == turn
}
