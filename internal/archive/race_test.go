//go:build race

package archive

const isRace = true
