//go:build race

package agent

// raceEnabled says that everything takes several times as long.
const raceEnabled = true
