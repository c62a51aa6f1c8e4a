package seeded

// findersOfCluster are the tests that find each bug of the decisions on a record.
var findersOfCluster = map[string]string{
	"claim-held":          "TestDecideClaim",
	"claim-any-copy":      "TestDecideClaim",
	"claim-same-epoch":    "TestDecideClaim",
	"ignore-floor":        "TestForcedIsWrittenDown",
	"force-keeps-in-sync": "TestDecideClaim",
	"change-any-revision": "TestDecideChange",
}
