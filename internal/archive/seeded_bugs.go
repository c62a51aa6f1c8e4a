//go:build seededbugs

package archive

import "os"

// asked is the bug that the environment asks for: a test binary with this tag shows that
// the tests find it.
var asked = bug(os.Getenv("BALLAST_SEEDED_BUG"))

func seeded(b bug) bool { return b == asked }
