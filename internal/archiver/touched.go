package archiver

import (
	"math/bits"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// chunkSet is a set of chunks of one volume.
type chunkSet struct{ words []uint64 }

func (c *chunkSet) add(chunk uint64) {
	if chunk >= ballast.MaxVolumeSize/ballast.ChunkSize {
		return // no volume has it
	}
	for uint64(len(c.words)) <= chunk/64 {
		c.words = append(c.words, 0)
	}
	c.words[chunk/64] |= 1 << (chunk % 64)
}

// addAll adds the chunks of another set.
func (c *chunkSet) addAll(other chunkSet) {
	for len(c.words) < len(other.words) {
		c.words = append(c.words, 0)
	}
	for i, w := range other.words {
		c.words[i] |= w
	}
}

// addDelta adds the chunks that d changes.
func (c *chunkSet) addDelta(d *delta.Delta) {
	const blocks = ballast.ChunkSize / ballast.BlockSize
	for _, g := range d.Groups {
		for _, r := range g.Runs {
			if r.Count == 0 {
				continue
			}
			for chunk := uint64(r.First) / blocks; chunk <= (uint64(r.First)+r.Count-1)/blocks; chunk++ {
				c.add(chunk)
			}
		}
	}
}

// bytes returns how much of the volume the chunks are.
func (c *chunkSet) bytes() (n int64) {
	for _, w := range c.words {
		n += int64(bits.OnesCount64(w)) * ballast.ChunkSize
	}
	return n
}
