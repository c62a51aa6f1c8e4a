package repository

// bug names a mistake that others made in code like this and lost data by. The
// build tag seededbugs makes each of them possible; test/seeded shows that the
// tests of this package find every one.
type bug string

const (
	indexBeforePack    bug = "index-before-pack"    // an index is stored, and then the pack that it names
	snapshotBeforeData bug = "snapshot-before-data" // a snapshot is stored, and then what it is of
	fixedIV            bug = "fixed-iv"             // all is sealed with the same IV
	restartIV          bug = "restart-iv"           // IVs are counted, and every opening begins anew
	skipMAC            bug = "skip-mac"             // what was sealed is opened without a look at its checksum
	onePurpose         bug = "one-purpose"          // all purposes have the same keys
)
