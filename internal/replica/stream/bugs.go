package stream

// bug names a mistake that others made in code like this and lost data by. The
// build tag seededbugs makes each of them possible; test/seeded shows that the
// tests of this package find every one.
type bug string

const (
	countReceived bug = "stream-count-received" // what a copy has received is taken for durable there
	shipPastGap   bug = "stream-ship-past-gap"  // what the ring no longer has is left out
	followUncut   bug = "stream-follow-uncut"   // a copy keeps what its leader never had
	forgetResize  bug = "stream-forget-resize"  // the size does not travel
	answerOnEnd   bug = "stream-answer-on-end"  // who waits when the streams end is told that all is well
)
