package tail

// bug names a mistake that others made in code like this and lost data by. The
// build tag seededbugs makes each of them possible; test/seeded shows that the
// tests of this package find every one.
type bug string

const (
	headBeforeSegment   bug = "head-before-segment"   // a head is stored, and then the segment that it names
	ignoreMissingEnd    bug = "ignore-missing-end"    // segments that are missing at the end are passed over
	ignoreMissingMiddle bug = "ignore-missing-middle" // segments that are missing between others are passed over
	reuseNonce          bug = "reuse-nonce"           // an epoch is opened with the nonce of the one before
	openOver            bug = "open-over"             // an epoch is opened over another writer's
	shipFenced          bug = "ship-fenced"           // who was followed by another writer goes on
)
