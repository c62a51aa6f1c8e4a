package cluster

// bug names a mistake in the decisions on a record by which data is lost. The build tag
// seededbugs makes each of them possible; test/seeded shows that a test finds every one.
type bug string

const (
	claimHeld         bug = "claim-held"          // a claim does not ask who holds the volume
	claimAnyCopy      bug = "claim-any-copy"      // a copy that does not count becomes the writer's
	claimSameEpoch    bug = "claim-same-epoch"    // a claim does not raise the epoch
	ignoreFloor       bug = "ignore-floor"        // a claim does not go above what the node's files have seen
	forceKeepsInSync  bug = "force-keeps-in-sync" // what a forced failover gives up still counts
	changeAnyRevision bug = "change-any-revision" // a change is made over another revision than it was decided on
)
