//go:build !race

package tail

// share is how many seeds there are for each that is tried.
const share = 1
