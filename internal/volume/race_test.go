//go:build race

package volume

// powerCuts is how many cuts TestPowerCut makes. The race detector makes each
// ten times as slow and finds nothing more, as only one goroutine is at work.
const powerCuts = 1_000

// share is how many seeds, failures or cuts there are for each that is tried.
const share = 5

// See norace_test.go.
const (
	sheetSeeds   = 2
	rebuildSeeds = 6
	sheetStride  = 13
)
