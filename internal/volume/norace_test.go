//go:build !race

package volume

// powerCuts is how many cuts TestPowerCut makes.
const powerCuts = 100_000

// share is how many seeds, failures or cuts there are for each that is tried.
const share = 1

// How thoroughly volumes of several chunks are tried: seeds, and of the
// operations that can fail every how many-th.
const (
	sheetSeeds   = 12
	rebuildSeeds = 240
	sheetStride  = 1
)
