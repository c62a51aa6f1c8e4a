package archive

// bug names a mistake that others made in code like this and lost data by. The
// build tag seededbugs makes each of them possible; test/seeded shows that the
// tests of this package find every one.
type bug string

const (
	restoreOverMissing bug = "restore-over-missing" // a restore goes past what is missing before its moment
)
