package seeded

// findersOfRepository are the tests that find each bug of what is stored in restic's format.
var findersOfRepository = map[string]string{
	"index-before-pack":    "TestSaveSurvivesACrashAtEveryCall",
	"snapshot-before-data": "TestSaveSurvivesACrashAtEveryCall",
	"fixed-iv":             "TestNoIVTwice",
	"restart-iv":           "TestNoIVTwice",
	"skip-mac":             "TestUnsealRefusesEverythingButWhatWasSealed",
	"one-purpose":          "TestSealedForOnePurposeIsRefusedForAnother",
}

// findersOfTail are those of the log tail.
var findersOfTail = map[string]string{
	"head-before-segment":   "TestCrashBetweenSteps",
	"ignore-missing-end":    "TestMutations",
	"ignore-missing-middle": "TestMutations",
	"reuse-nonce":           "TestOneOpens",
	"open-over":             "TestOneOpens",
	"ship-fenced":           "TestFence",
}

// findersOfArchive are those of restoring.
var findersOfArchive = map[string]string{
	"restore-over-missing": "TestPlan",
}
