//go:build !seededbugs

package tail

// seeded reports whether a bug is to be shown to the tests. In a product it
// never is, and the compiler leaves nothing of the question.
func seeded(bug) bool { return false }
