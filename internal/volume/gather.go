package volume

import (
	"cmp"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// runsPerRecord is how many runs a record can add: its own, and one that it cuts
// into two.
const runsPerRecord = 2

// gather makes a delta of records, in their order.
type gather struct {
	volume ballast.VolumeID
	epoch  ballast.Epoch
	after  ballast.LSN
	size   int64   // of the volume now
	points []point // still to come
	limit  int64   // bytes of data

	groups []delta.Group
	bytes  int64       // of data, the group under way included
	runs   int         // at most, so far
	last   ballast.LSN // of the group under way; 0: it has no record
	blocks *generation // of the group under way; a position is a slot
	slots  [][]byte    // each has room for slotsPerPiece blocks
	used   position    // slots of the group under way
}

// slotsPerPiece keeps a small delta small, and a large one from being copied as it grows.
const slotsPerPiece = 64

func (g *gather) slot(at position) []byte {
	return g.slots[at/slotsPerPiece][at%slotsPerPiece*blockSize:][:blockSize]
}

// full reports whether the delta would be too large with one record more.
func (g *gather) full() bool {
	if g.last == 0 && len(g.groups) == 0 {
		return false
	}
	return g.bytes >= g.limit || g.bytes > delta.MaxData-maxBatchBlocks*blockSize ||
		g.runs > delta.MaxRuns-runsPerRecord || len(g.groups) == delta.MaxGroups
}

// add adds a record, and ends the group when it is a point.
func (g *gather) add(_ *batchHeader, r record, data []byte) {
	if g.last == 0 {
		g.blocks = newGeneration(r.lsn)
	}
	g.last = r.lsn
	if r.kind == kindDiscard {
		g.blocks.discard(extent{r.block, r.block + ballast.Block(r.count)})
		g.runs += runsPerRecord
	} else {
		g.write(r.block, data)
	}
	if len(g.points) > 0 && g.points[0].lsn == r.lsn {
		g.finish(g.points[0])
		g.points = g.points[1:]
	}
}

// write puts blocks over those that the group has already.
func (g *gather) write(first ballast.Block, data []byte) {
	before := g.used
	for b := first; len(data) > 0; b, data = b+1, data[blockSize:] {
		if at, ok := g.blocks.blocks[b]; ok {
			copy(g.slot(at), data)
			continue
		}
		if int(g.used) == len(g.slots)*slotsPerPiece {
			g.slots = append(g.slots, make([]byte, slotsPerPiece*blockSize))
		}
		copy(g.slot(g.used), data)
		g.blocks.blocks[b] = g.used
		g.used++
		g.bytes += blockSize
	}
	if g.used > before {
		g.runs += runsPerRecord
	}
}

// finish ends the group under way.
func (g *gather) finish(at point) {
	blocks := g.blocks.sorted()
	group := delta.Group{Last: g.last, Time: at.time, Size: at.size, Data: make([]byte, 0, len(blocks)*blockSize)}
	for _, b := range blocks {
		group.Data = append(group.Data, g.slot(g.blocks.blocks[b])...)
	}
	group.Runs = runs(blocks, g.blocks.zeros)
	g.groups = append(g.groups, group)
	g.last, g.used = 0, 0
}

// delta ends the gathering. What is left is no point: the size is the next
// one's, as a volume only grows.
func (g *gather) delta() *delta.Delta {
	if g.last != 0 {
		next := point{size: g.size}
		if len(g.points) > 0 {
			next.size = g.points[0].size
		}
		g.finish(next)
	}
	return &delta.Delta{Volume: g.volume, Epoch: g.epoch, After: g.after, Groups: g.groups}
}

// runs describes blocks with data and, where there are none, zeros, in order.
func runs(blocks []ballast.Block, zeros extents) []delta.Run {
	var written []delta.Run
	for len(blocks) > 0 {
		n := runLength(blocks, len(blocks))
		written = append(written, delta.Run{First: blocks[0], Count: uint64(n)})
		blocks = blocks[n:]
	}
	all := slices.Clone(written)
	for _, x := range zeros {
		for at := x.first; at < x.end; {
			for len(written) > 0 && end(written[0]) <= at {
				written = written[1:]
			}
			until := x.end
			if len(written) > 0 {
				until = min(until, written[0].First)
			}
			if until <= at { // written after it was discarded
				at = end(written[0])
				continue
			}
			all = append(all, delta.Run{First: at, Count: uint64(until - at), Zero: true})
			at = until
		}
	}
	slices.SortFunc(all, func(a, b delta.Run) int { return cmp.Compare(a.First, b.First) })
	return all
}

func end(r delta.Run) ballast.Block { return r.First + ballast.Block(r.Count) }
