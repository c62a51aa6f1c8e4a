//go:build !seededbugs

package repository

// seeded reports whether a bug is to be shown to the tests. In a product it
// never is, and the compiler leaves nothing of the question.
func seeded(bug) bool { return false }

// spoil makes an IV what a bug makes of it.
func (*sealer) spoil([]byte) {}
