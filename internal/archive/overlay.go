package archive

import (
	"math/bits"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// chunkBlocks is how many blocks a chunk has.
const chunkBlocks = ballast.ChunkSize / ballast.BlockSize

// noObject stands for the object of blocks that are zeros.
const noObject = ^uint32(0)

// overlay is what the tail made of a volume: per chunk the blocks that show, each
// from the last object that has it. It is made from the newest run to the oldest,
// so that what a newer one hides is not even noted. It holds no data.
type overlay struct {
	chunks int
	sealed []uint64 // a bit per chunk: nothing older shows, the base neither
	covers map[uint32]*cover
}

// cover is the blocks of one chunk that the tail has.
type cover struct {
	set   [chunkBlocks / 64]uint64 // a bit per block
	parts []part
}

// part is blocks of a chunk that follow one another, in it and in an object's data.
type part struct {
	object uint32
	from   uint32 // its first block among the object's
	at     uint8  // its first block in the chunk
	last   uint8  // its last one
}

func newOverlay(chunks int) *overlay {
	return &overlay{chunks: chunks, sealed: make([]uint64, (chunks+63)/64), covers: map[uint32]*cover{}}
}

func (o *overlay) isSealed(chunk int) bool { return o.sealed[chunk/64]&(1<<(chunk%64)) != 0 }

func (o *overlay) seal(chunk int) { o.sealed[chunk/64] |= 1 << (chunk % 64) }

// under lays a run under what is there. Its data begin at block from of its object.
// It reports whether the run is within the volume.
func (o *overlay) under(r delta.Run, object, from uint32) bool {
	end := uint64(r.First) + r.Count
	if end < uint64(r.First) || end > uint64(o.chunks)*chunkBlocks {
		return false
	}
	for at := uint64(r.First); at < end; {
		chunk := int(at / chunkBlocks)
		next := min(uint64(chunk+1)*chunkBlocks, end)
		if !o.isSealed(chunk) {
			o.underChunk(chunk, uint(at%chunkBlocks), uint(next-at), object, from+uint32(at-uint64(r.First)))
		}
		at = next
	}
	return true
}

// underChunk lays count blocks from at on under what a chunk has.
func (o *overlay) underChunk(chunk int, at, count uint, object, from uint32) {
	if object == noObject && count == chunkBlocks {
		o.seal(chunk)
		return
	}
	c := o.covers[uint32(chunk)]
	if c == nil {
		c = &cover{}
		o.covers[uint32(chunk)] = c
	}
	for i := at; i < at+count; {
		if c.has(i) {
			i++
			continue
		}
		first := i
		for i < at+count && !c.has(i) {
			c.set[i/64] |= 1 << (i % 64)
			i++
		}
		c.parts = append(c.parts, part{object: object, from: from + uint32(first-at), at: uint8(first), last: uint8(i - 1)})
	}
	if c.full() {
		o.seal(chunk)
	}
}

func (c *cover) has(block uint) bool { return c.set[block/64]&(1<<(block%64)) != 0 }

func (c *cover) full() bool {
	n := 0
	for _, word := range c.set {
		n += bits.OnesCount64(word)
	}
	return n == chunkBlocks
}

// dataBlocks returns how many blocks of the chunk come from the tail and are not zeros.
func (c *cover) dataBlocks() (n int) {
	if c == nil {
		return 0
	}
	for _, p := range c.parts {
		if p.object != noObject {
			n += int(p.last-p.at) + 1
		}
	}
	return n
}
