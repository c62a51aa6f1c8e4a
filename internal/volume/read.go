package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// piece is a part of a read whose bytes lie side by side in one place.
type piece struct {
	source
	seg   *segment // for a piece of the log that is not in memory
	image vfs.File // for any other: a copy that is brought to another point gets another one
	block ballast.Block
	p     []byte
}

// ReadAt reads whole blocks: off and len(p) are multiples of 4096 and lie
// within the volume, else the error is [ErrRange]. It sees every write that
// returned before, and goes on working when the volume accepts no more writes.
func (v *Volume) ReadAt(p []byte, off int64) (int, error) {
	v.counters.reads.Add(1)
	v.counters.readBytes.Add(uint64(len(p)))
	if v.hydration.left.Load() > 0 {
		v.hydration.readAt(off, int64(len(p)))
	}
	var room [8]piece // most reads are of few pieces
	for {
		pieces, err := v.locate(room[:0], p, off)
		if lack := (*lackError)(nil); errors.As(err, &lack) {
			if err = v.obtainAll(context.Background(), lack.chunks); err == nil {
				continue // what was written meanwhile is elsewhere
			}
			err = fmt.Errorf("read volume %s: %w", v.id, err)
		}
		if err != nil {
			return 0, err
		}
		err = v.fetch(pieces)
		if v.stillThere(pieces) {
			if err != nil {
				return 0, fmt.Errorf("read volume %s: %w", v.id, err)
			}
			return len(p), nil
		}
		// A segment was let go while it was being read. The image has its
		// blocks now; what was read may be of the segment's next use.
	}
}

// locate finds out where the bytes are, and copies those that are in memory.
func (v *Volume) locate(pieces []piece, p []byte, off int64) ([]piece, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return nil, ErrClosed
	}
	return v.locateUpTo(pieces, p, off, v.log.last)
}

// locateUpTo is locate for the generations that end at lsn or before. The caller holds mu.
func (v *Volume) locateUpTo(pieces []piece, p []byte, off int64, lsn ballast.LSN) ([]piece, error) {
	if !v.inRange(off, int64(len(p))) {
		return nil, ErrRange
	}
	if v.active.isEmpty() && len(v.frozen) == 0 {
		pieces = append(pieces, piece{source: source{from: fromImage}, image: v.image, block: ballast.Block(off / blockSize), p: p})
		return pieces, v.lacking(pieces)
	}
	for ; len(p) > 0; p, off = p[blockSize:], off+blockSize {
		b := ballast.Block(off / blockSize)
		src := v.find(b, lsn)
		if src.from == fromLog {
			if in := v.log.resident(src.pos); in != nil {
				copy(p[:blockSize], in.data(src.pos, 1))
				continue
			}
		}
		pieces = v.join(pieces, src, b, p)
	}
	return pieces, v.lacking(pieces)
}

// lacking fails with a [*lackError] when pieces of the image are in chunks that
// are missing (V9). The caller has held mu since they were located: until then
// no generation knew their blocks, so none can have covered their chunks.
func (v *Volume) lacking(pieces []piece) error {
	if v.hydration.left.Load() == 0 {
		return nil
	}
	var chunks []int
	for _, piece := range pieces {
		if piece.from == fromImage {
			chunks = v.hydration.lacking(chunks, extent{piece.block, piece.block + ballast.Block(len(piece.p)/blockSize)})
		}
	}
	if len(chunks) == 0 {
		return nil
	}
	return &lackError{chunks}
}

// find says where the bytes of a block are: of the generations that end at lsn or
// before, the newest that knows has the last word.
func (v *Volume) find(b ballast.Block, lsn ballast.LSN) source {
	if v.active.last <= lsn {
		if src := v.active.find(b); src.from != fromNowhere {
			return src
		}
	}
	for _, g := range slices.Backward(v.frozen) {
		if g.last > lsn {
			continue
		}
		if src := g.find(b); src.from != fromNowhere {
			return src
		}
	}
	return source{from: fromImage}
}

// join adds the block at the start of p to the last piece where it continues
// it, else as a piece of its own.
func (v *Volume) join(pieces []piece, src source, b ballast.Block, p []byte) []piece {
	if n := len(pieces); n > 0 {
		last := &pieces[n-1]
		blocks := len(last.p) / blockSize
		follows := last.from == src.from && last.block+ballast.Block(blocks) == b
		if src.from == fromLog {
			follows = follows && last.pos+position(blocks) == src.pos && last.seg == v.log.segmentOf(src.pos)
		}
		if follows {
			last.p = last.p[:len(last.p)+blockSize]
			return pieces
		}
	}
	next := piece{source: src, image: v.image, block: b, p: p[:blockSize:len(p)]}
	if src.from == fromLog {
		next.seg = v.log.segmentOf(src.pos)
	}
	return append(pieces, next)
}

func (v *Volume) fetch(pieces []piece) error {
	for _, piece := range pieces {
		if err := v.fetchOne(piece); err != nil {
			return err
		}
	}
	return nil
}

func (v *Volume) fetchOne(piece piece) error {
	switch piece.from {
	case fromZeros:
		clear(piece.p)
		return nil
	case fromLog:
		return piece.seg.readBlocks(piece.p, piece.pos)
	case fromImage, fromNowhere: // the last resort of find is the image
	}
	_, err := piece.image.ReadAt(piece.p, int64(piece.block)*blockSize)
	return err
}

// stillThere reports whether no segment that was read has been let go since:
// until then it holds what it held.
func (v *Volume) stillThere(pieces []piece) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, piece := range pieces {
		if piece.from == fromLog && v.log.segmentOf(piece.pos) == nil {
			return false
		}
	}
	return true
}

// inRange reports whether n bytes at off are whole blocks of the volume.
func (v *Volume) inRange(off, n int64) bool {
	return off >= 0 && n >= 0 && off%blockSize == 0 && n%blockSize == 0 && off <= v.size-n
}
