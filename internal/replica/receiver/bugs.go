package receiver

// bug names a mistake that others made in code like this and lost data by. The
// build tag seededbugs makes each of them possible; test/seeded shows that the
// tests of this package and of package stream find every one.
type bug string

const (
	ackBeforeSync   bug = "follower-ack-before-sync"  // appended is taken for durable
	serveOldEpoch   bug = "follower-serve-old-epoch"  // a stream that was fenced off goes on
	prepareUnfenced bug = "follower-prepare-unfenced" // a copy says where it ends to a new writer, and does not follow it
)
