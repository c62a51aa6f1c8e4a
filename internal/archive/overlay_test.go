package archive

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

// Laying runs under one another, newest first, shows what writing them in order
// leaves.
func TestOverlayShowsTheNewest(t *testing.T) {
	const chunks, runs = 3, 12
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		type write struct {
			run    delta.Run
			object uint32
		}
		type shown struct{ object, block uint32 }
		want := make([]shown, chunks*chunkBlocks) // object 0: the base
		var writes []write
		for i := range runs {
			first := rng.Uint64N(chunks * chunkBlocks)
			w := write{delta.Run{First: ballast.Block(first), Count: 1 + rng.Uint64N(chunks*chunkBlocks-first)}, uint32(i + 1)}
			if rng.IntN(3) == 0 {
				w.run.Zero, w.object = true, noObject
			}
			writes = append(writes, w)
			for b := range w.run.Count {
				want[first+b] = shown{w.object, uint32(b)}
			}
		}
		o := newOverlay(chunks)
		for _, w := range slices.Backward(writes) {
			if !o.under(w.run, w.object, 0) {
				t.Fatalf("seed=%d: run %+v is refused", seed, w.run)
			}
		}
		for i, w := range want {
			if got, ok := o.shows(i); ok != (w.object != 0) || ok && got.object != w.object || ok && w.object != noObject && got.from != w.block {
				t.Fatalf("seed=%d: block %d shows %+v, %t; want %+v", seed, i, got, ok, w)
			}
		}
	}
}

// shows returns where a block comes from; false: from the base.
func (o *overlay) shows(block int) (part, bool) {
	chunk, at := block/chunkBlocks, block%chunkBlocks
	if c := o.covers[uint32(chunk)]; c != nil {
		for _, p := range c.parts {
			if int(p.at) <= at && at <= int(p.last) {
				p.from += uint32(at - int(p.at))
				return p, true
			}
		}
	}
	return part{object: noObject}, o.isSealed(chunk)
}

func TestOverlayRefusesWhatIsOutside(t *testing.T) {
	for _, r := range []delta.Run{
		{First: 2 * chunkBlocks, Count: 1},
		{First: 0, Count: 2*chunkBlocks + 1},
		{First: 1, Count: 1<<64 - 1},
		{First: 1 << 63, Count: 1 << 63},
	} {
		if newOverlay(2).under(r, 0, 0) {
			t.Errorf("run %+v is taken", r)
		}
	}
}
