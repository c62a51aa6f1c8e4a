package seeded

import (
	"slices"
	"testing"
)

// classics are mistakes that others have shipped, and the bug by which each is asked for
// here. Which test finds it say the tables of finders; of a part without one, any test
// of its suites may.
var classics = []struct{ mistake, part, bug string }{
	{"skip the sync of the log", "volume", "skip-log-sync"},
	{"skip the folder's sync after a rename", "volume", "skip-dir-sync"},
	{"acknowledge before the other copy's sync", "streams", "follower-ack-before-sync"},
	{"acknowledge after one of two copies in sync", "replica", "one-is-enough"},
	{"a copy takes what is of an old epoch", "replica", "follow-lower-epoch"},
	{"a stopped writer acknowledges after its lease", "sim", "answer-after-lease"},
	{"in sync one batch early", "replica", "add-early"},
	{"acknowledge after a sync that failed was tried again", "volume", "retry-failed-sync"},
	{"take a torn end of the log for whole", "volume", "accept-torn-record"},
	{"sync out of order", "volume", "reorder-across-segments"},
	// Not asked for here: a manifest in the archive before what it names, a restore that
	// passes over the last object, a nonce used twice, zeros around an unaligned write in a rebuild.
	// What attacks the first two are TestCrashBetweenSteps and TestMutations of internal/archive/tail, the
	// last one TestConcurrentHydration of internal/volume and the rebuilds of test/chaos.
}

// TestClassicsCanBeAskedFor wants the bug of every one of them in the code.
func TestClassicsCanBeAskedFor(t *testing.T) {
	for _, c := range classics {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == c.part })
		if i < 0 || !slices.Contains(bugs(t, parts[i]), c.bug) {
			t.Errorf("%s: there is no bug %q of %s", c.mistake, c.bug, c.part)
		}
	}
}
