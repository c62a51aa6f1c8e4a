//go:build seededbugs

package stream

import "syscall"

// seeded reports whether the environment asks for a bug: a test binary with
// this tag shows that the tests find it.
func seeded(b bug) bool {
	name, _ := syscall.Getenv("BALLAST_SEEDED_BUG")
	return name == string(b)
}
