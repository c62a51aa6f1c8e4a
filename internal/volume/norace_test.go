//go:build !race

package volume

// powerCuts is how many cuts TestPowerCut makes.
const powerCuts = 100_000
