//go:build race

package tail

// share is how many seeds there are for each that is tried. The race detector makes each
// ten times as slow and finds nothing more, as only one goroutine is at work.
const share = 12
