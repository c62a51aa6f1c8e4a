package seeded

// findersOfEngine are the tests that find each bug of the gate between device and volume.
var findersOfEngine = map[string]string{
	"gate-open-past-lease":  "TestGate",
	"gate-open-any-session": "TestGate",
	"gate-look-before":      "TestGate",
}
