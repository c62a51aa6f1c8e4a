package volume

import (
	"crypto/rand"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Hollow is a volume whose bytes are elsewhere: it can be opened at once, and
// its chunks come when they are needed, from [Options.Source].
type Hollow struct {
	ID    ballast.VolumeID
	Size  int64         // bytes; a multiple of [ballast.ChunkSize]
	LSN   ballast.LSN   // the last record that its bytes hold
	Epoch ballast.Epoch // that wrote it: the volume is opened under a higher one
	// Lineage is that of its records, as the peer that has them says; without it
	// Epoch alone is known. What it has behind LSN does not count.
	Lineage Lineage
	// Present says which chunks are all zeros, so that there is nothing to
	// fetch; nil: none.
	Present func(chunk int) bool
}

// CreateHollow makes such a volume in the folder dir, which exists and is empty.
// A CreateHollow that a power cut interrupted can be made again.
func CreateHollow(fsys vfs.FS, dir string, h Hollow) error {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("create volume %s: %w", h.ID, err)
	}
	d := &descriptor{Format: FormatVersion, ID: h.ID, Size: h.Size, Segment: defaultSegment, Salt: newSalt(random)}
	return createHollow(fsys, dir, d, h)
}

func createHollow(fsys vfs.FS, dir string, d *descriptor, h Hollow) error {
	d.Applied, d.Durable = h.LSN, h.LSN
	if d.History = h.Lineage.upTo(h.LSN); len(d.History) == 0 && h.Epoch > 0 {
		d.History = Lineage{{h.Epoch, max(h.LSN, 1)}}
	}
	if h.Epoch > d.History.Epoch() {
		d.Promised = h.Epoch
	}
	return create(fsys, dir, d, func(c *chunks) { c.hollow(h) })
}

// hollow marks what is to be fetched. Every chunk counts as changed, be it at
// LSN 0: nobody can tell any more since when it is as it is.
func (c *chunks) hollow(h Hollow) {
	for i := range c.table {
		c.table[i] = uint64(max(h.LSN, 1))
		if h.Present != nil && h.Present(i) {
			c.table[i] |= presentBit
		}
	}
}
