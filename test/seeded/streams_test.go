package seeded

// findersOfStreams are the tests that find each bug of the two ends of replication, whose
// tests are those of the leader's: the narrow ones, and behind them the storm.
var findersOfStreams = map[string]string{
	"stream-count-received":     "TestReceivedIsNotDurable|TestStorm",
	"stream-ship-past-gap":      "TestHalfOpenConnection|TestAwayForLongerThanTheLog|TestStorm",
	"stream-follow-uncut":       "TestTailIsCut|TestStorm",
	"stream-forget-resize":      "TestResizeTravels",
	"stream-answer-on-end":      "TestFencedByALaterWriter|TestEndedStreamsAnswerWhoWaits|TestStorm",
	"follower-ack-before-sync":  "TestTailIsCut|TestReceivedIsNotDurable|TestStorm",
	"follower-serve-old-epoch":  "TestFencedByALaterWriter|TestStorm",
	"follower-prepare-unfenced": "TestPrepareAndChunk",
}
