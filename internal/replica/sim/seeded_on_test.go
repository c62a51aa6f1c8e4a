//go:build seededbugs

package sim

import "os"

// asked is read once: the simulation asks often.
var asked = bug(os.Getenv("BALLAST_SEEDED_BUG"))

func broken(b bug) bool { return b == asked }
