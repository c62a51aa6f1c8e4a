package seeded

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// classic is a mistake that others have shipped, and the bugs by which it is asked for here.
type classic struct {
	mistake string
	bugs    []named
}

type named struct{ part, bug string }

// classics are the fourteen that every harness of this kind should know, by number. The
// table of docs/seeded-bugs.md is theirs.
var classics = []classic{
	{"the log is not synced at a flush", []named{{"volume", "skip-log-sync"}}},
	{"the folder is not synced after a rename", []named{{"volume", "skip-dir-sync"}}},
	{"acknowledged before the other copy's sync", []named{{"streams", "follower-ack-before-sync"}, {"sim", "acknowledge-received"}}},
	{"acknowledged after one of two copies in sync", []named{{"replica", "one-is-enough"}}},
	{"a copy takes what is of an old epoch", []named{{"replica", "follow-lower-epoch"}, {"volume", "accept-lower-epoch"}, {"streams", "follower-serve-old-epoch"}}},
	{"a stopped writer acknowledges after its lease", []named{{"engine", "gate-open-past-lease"}, {"engine", "gate-look-before"}, {"sim", "answer-after-lease"}}},
	{"a rebuild has zeros around a write that is smaller than its unit", []named{{"volume", "rebuild-zero-fills"}, {"volume", "cover-partly"}}},
	{"in sync one batch early", []named{{"replica", "add-early"}}},
	{"acknowledged after a sync that failed was tried again", []named{{"volume", "retry-failed-sync"}}},
	{"a torn end of the log is taken for whole", []named{{"volume", "accept-torn-record"}}},
	{"synced out of order across a flush", []named{{"volume", "reorder-across-segments"}}},
	{"in the archive, what names is stored before what it names", []named{{"repository", "index-before-pack"}, {"repository", "snapshot-before-data"}, {"tail", "head-before-segment"}}},
	{"a restore, or a recovery, passes over the last segment", []named{{"tail", "ignore-missing-end"}, {"archive", "restore-over-missing"}, {"volume", "ignore-last-segment"}}},
	{"a nonce is used again, as in another epoch", []named{{"repository", "restart-iv"}, {"repository", "fixed-iv"}, {"tail", "reuse-nonce"}}},
}

// TestClassicsCanBeAskedFor wants the bugs of every one of them in the code.
func TestClassicsCanBeAskedFor(t *testing.T) {
	for _, c := range classics {
		for _, n := range c.bugs {
			i := slices.IndexFunc(parts, func(p part) bool { return p.name == n.part })
			if i < 0 || !slices.Contains(bugs(t, parts[i]), n.bug) {
				t.Errorf("%s: there is no bug %q of %s", c.mistake, n.bug, n.part)
			}
		}
	}
}

// TestTableOfClassics holds the documentation to what is asked for here.
func TestTableOfClassics(t *testing.T) {
	page, err := os.ReadFile("../../docs/seeded-bugs.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := ""
	for i, c := range classics {
		for _, n := range c.bugs {
			rows += fmt.Sprintf("| %d | %s | %s `%s` | %s |\n", i+1, c.mistake, n.part, n.bug, finder(t, n))
		}
	}
	if !strings.Contains(string(page), rows) {
		t.Errorf("the table of docs/seeded-bugs.md should be\n%s", rows)
	}
}

// finder names the tests that find a bug, as people do.
func finder(t *testing.T, n named) string {
	p := parts[slices.IndexFunc(parts, func(p part) bool { return p.name == n.part })]
	if p.finders[n.bug] == "" {
		t.Errorf("nobody says which test finds %q of %s", n.bug, n.part)
	}
	return strings.ReplaceAll(p.finders[n.bug], "|", ", ")
}
