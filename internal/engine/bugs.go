package engine

// bug names a mistake that others made in code like this and lost data by. The
// build tag seededbugs makes each of them possible; test/seeded shows that the
// tests of this package find every one.
type bug string

const (
	openPastLease  bug = "gate-open-past-lease"  // the gate does not look how late it is
	openAnySession bug = "gate-open-any-session" // the gate takes any session of its node for the one that it was confirmed in
	lookBefore     bug = "gate-look-before"      // the gate looks before the work only, and a stopped process answers long after
)
