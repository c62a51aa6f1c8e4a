package seeded

// findersOfReplica are the tests that find each bug of the decisions on copies.
var findersOfReplica = map[string]string{
	"one-is-enough":           "TestCommitWaitsForEveryInSyncCopy",
	"ignore-own-disk":         "TestModel",
	"require-once-recorded":   "TestDoubtEndsWithALaterRevisionOnly",
	"forget-once-asked":       "TestRemovedCopyIsRequiredUntilItIsKnown",
	"reading-ends-doubt":      "TestDoubtEndsWithALaterRevisionOnly",
	"unknown-is-no":           "TestDoubtEndsWithALaterRevisionOnly",
	"cut-too-much":            "TestMeet",
	"add-early":               "TestModel",
	"add-behind-opening":      "TestSimulation",
	"count-earlier-copy":      "TestCopyPlacedAgainStartsFromNothing",
	"remove-last":             "TestEnoughCopiesStayInSync",
	"remove-below-min-copies": "TestEnoughCopiesStayInSync",
	"follow-lower-epoch":      "TestGreet",
	"meet-by-number-alone":    "TestMeet",
	"cut-one-less":            "TestMeet",
	"cut-what-is-folded":      "TestMeet",
	"skip-chunks":             "TestMeet",
	"keep-old-chunks":         "TestCounts",
	"fill-in-sync":            "TestLostCopyIsRemovedBeforeItIsFilled",
	"commit-when-fenced":      "TestFencedLeaderCommitsNothing",
	"choose-longest":          "TestChoose",
	"choose-set-aside":        "TestChooseAfterForcedFailover",
}

// findersOfSimulation are those of what is modelled in the simulation, which finds them itself.
var findersOfSimulation = map[string]string{
	"skip-waiting":          "TestSimulation",
	"acknowledge-received":  "TestSimulation",
	"answer-after-lease":    "TestSimulation",
	"keep-lapsed-session":   "TestSimulation",
	"ignore-session":        "TestSimulation",
	"claim-without-session": "TestSimulation",
	"answer-before-stored":  "TestSimulation",
	"cut-too-little":        "TestSimulation",
	"fold-beyond-committed": "TestSimulation",
	"stage-in-place":        "TestSimulation",
	"hollow-at-log-end":     "TestSimulation",
	"prepare-unfenced":      "TestSimulation",
	"fill-from-any-copy":    "TestSimulation",
}
