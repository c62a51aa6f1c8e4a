package volume

import (
	"maps"
	"slices"

	"github.com/ballast-io/ballast"
)

// generation is the index over a stretch of the log: for every block, what its
// last record in that stretch made of it. A round of apply folds a whole
// generation into the image, so nothing has to be taken out of one, and its
// length bounds how long a full log makes a writer wait.
type generation struct {
	first, last ballast.LSN // the stretch; last < first when it is empty
	blocks      map[ballast.Block]position
	zeros       extents  // discarded, but for what blocks holds
	seq         uint64   // of the segment that its first record stands in
	end         position // every later record stands here or behind; set when it is frozen
}

func newGeneration(first ballast.LSN) *generation {
	return &generation{first: first, last: first - 1, blocks: map[ballast.Block]position{}}
}

func (g *generation) isEmpty() bool { return g.last < g.first }

// put makes r the last word on its blocks.
func (g *generation) put(r record) {
	g.last = r.lsn
	if r.kind == kindDiscard {
		g.discard(extent{r.block, r.block + ballast.Block(r.count)})
		return
	}
	for i := range r.count {
		g.blocks[r.block+ballast.Block(i)] = r.pos + position(i)
	}
}

func (g *generation) discard(x extent) {
	if uint64(x.end-x.first) > uint64(len(g.blocks)) {
		maps.DeleteFunc(g.blocks, func(b ballast.Block, _ position) bool { return x.first <= b && b < x.end })
	} else {
		for b := x.first; b < x.end; b++ {
			delete(g.blocks, b)
		}
	}
	g.zeros = g.zeros.add(x)
}

// source is where the present bytes of a block are.
type source struct {
	from origin
	pos  position // in the log
}

type origin uint8

const (
	fromNowhere origin = iota // this generation does not know: ask an older one
	fromLog
	fromZeros
	fromImage
)

func (g *generation) find(b ballast.Block) source {
	if pos, ok := g.blocks[b]; ok {
		return source{fromLog, pos}
	}
	if len(g.zeros) > 0 && g.zeros.has(b) {
		return source{from: fromZeros}
	}
	return source{}
}

// sorted returns the blocks that the generation has data for, in order.
func (g *generation) sorted() []ballast.Block {
	return slices.Sorted(maps.Keys(g.blocks))
}
