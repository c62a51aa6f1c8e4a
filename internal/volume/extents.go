package volume

import (
	"slices"

	"github.com/ballast-io/ballast"
)

// extent is a run of blocks: from first to before end.
type extent struct{ first, end ballast.Block }

// extents is a set of blocks: sorted runs that do not touch.
type extents []extent

// search returns the index of the first run that ends at or after b.
func (e extents) search(b ballast.Block) int {
	i, _ := slices.BinarySearchFunc(e, b, func(x extent, b ballast.Block) int {
		if x.end < b {
			return -1
		}
		return 1
	})
	return i
}

// add returns the set with a run more, merged with those it touches.
func (e extents) add(x extent) extents {
	from := e.search(x.first)
	to := from
	for to < len(e) && e[to].first <= x.end {
		x.first, x.end = min(x.first, e[to].first), max(x.end, e[to].end)
		to++
	}
	return slices.Replace(e, from, to, x)
}

// has reports whether b is in the set.
func (e extents) has(b ballast.Block) bool {
	i := e.search(b + 1)
	return i < len(e) && e[i].first <= b
}
