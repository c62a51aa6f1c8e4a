package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ballast-io/ballast"
)

// whenReady does what may be in want of missing chunks, or of the other copies' word,
// until it is not: it holds its locks itself, and none of them while others are waited for.
func (v *Volume) whenReady(ctx context.Context, do func() error) error {
	for {
		err := do()
		lack, early := (*lackError)(nil), (*uncommittedError)(nil)
		switch {
		case errors.As(err, &lack):
			err = v.obtainAll(ctx, lack.chunks)
		case errors.As(err, &early):
			err = v.commitTo(early.lsn)
		default:
			return err
		}
		if err != nil {
			return fmt.Errorf("fold log into image: %w", err)
		}
	}
}

// cover prepares the image for a generation (V9): its missing chunks that the
// generation does not replace wholly must come first, and those that it does
// replace need not come at all. The caller holds applying.
func (v *Volume) cover(g *generation) error {
	h := &v.hydration
	if h.left.Load() == 0 {
		return nil
	}
	var lack, whole []int
	for _, chunk := range h.missingIn(g) {
		if g.replaces(chunk) || seeded(coverPartly) {
			whole = append(whole, chunk)
		} else {
			lack = append(lack, chunk)
		}
	}
	if len(lack) > 0 {
		return &lackError{lack}
	}
	h.installing.Lock()
	defer h.installing.Unlock()
	h.cover(whole)
	return nil
}

// cover declares chunks present that the oldest generation replaces: until it is
// folded, reads find their blocks there. The caller holds installing.
func (h *hydration) cover(chunks []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, chunk := range chunks {
		if h.missing.has(chunk) {
			h.missing.remove(chunk)
			h.left.Add(-1)
			h.covered = append(h.covered, chunk)
		}
	}
}

// uncover notes that the oldest generation is in the image.
func (h *hydration) uncover() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.arrived = append(h.arrived, h.covered...)
	h.covered = nil
}

// missingIn returns the missing chunks that a generation changes, in order.
func (h *hydration) missingIn(g *generation) []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := map[int]struct{}{}
	for b := range g.blocks {
		if c := int(b / blocksPerChunk); h.missing.has(c) {
			found[c] = struct{}{}
		}
	}
	for _, x := range g.zeros {
		last := int((x.end - 1) / blocksPerChunk)
		for c := h.missing.next(int(x.first / blocksPerChunk)); c >= 0 && c <= last; c = h.missing.next(c + 1) {
			found[c] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// replaces reports whether the generation knows every block of a chunk.
func (g *generation) replaces(chunk int) bool {
	first := ballast.Block(chunk) * blocksPerChunk
	for b := first; b < first+blocksPerChunk; b++ {
		if g.find(b).from == fromNowhere {
			return false
		}
	}
	return true
}

// storeImage makes the image durable, and then the table say so (V8). The caller
// holds applying.
func (v *Volume) storeImage() error {
	arrived := v.hydration.arrivals()
	if seeded(presentBeforeSync) {
		v.chunks.arrived(arrived)
		if err := v.chunks.store(); err != nil {
			return v.setback(err)
		}
	}
	if err := v.syncImage(); err != nil {
		return err
	}
	v.chunks.arrived(arrived)
	if err := v.chunks.store(); err != nil {
		return v.setback(err)
	}
	v.hydration.settled(len(arrived))
	return nil
}

// keepArrived makes durable what was fetched.
func (v *Volume) keepArrived() error {
	v.applying.Lock()
	defer v.applying.Unlock()
	return v.keepArrivedLocked()
}

func (v *Volume) keepArrivedLocked() error {
	if len(v.hydration.arrivals()) == 0 {
		return nil
	}
	if err := v.Err(); err != nil {
		return err
	}
	return v.storeImage()
}

// arrived notes that the bytes of chunks are in the image, durably.
func (c *chunks) arrived(chunks []int) {
	for _, chunk := range chunks {
		if c.table[chunk]&presentBit == 0 {
			c.table[chunk] |= presentBit
			c.dirty[chunk/chunksPerPage] = true
		}
	}
}
