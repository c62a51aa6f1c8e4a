package archive

import (
	"maps"
	"strings"
	"testing"
)

// TestFenced recovers a machine's volume elsewhere while the machine works on: from then on
// what it writes is on it alone. It learns that and says so, and nothing that it is told to
// do to the archive harms those who follow it (H5).
func TestFenced(t *testing.T) {
	t.Parallel()
	site := newVault(t)
	first := site.machine(t, "--archive-interval", "50ms")
	first.do("archive", "init")
	old := first.newDiary("db", 2)
	common := old.write("before the machine is followed")
	first.archivedSince("db", common.began)
	first.based("db")

	second := site.machine(t)
	second.do("recover")
	followed := &diary{node: second, volume: "db", dir: second.attach("db"), rng: old.rng, files: maps.Clone(common.files), entries: []entry{common}}
	common.compare(second, followed.dir, "db")
	second.archivedSince("db", followed.write("by the second machine").began)

	// The former writer ships until it looks at the archive, every 64 objects.
	first.eventually("the first machine to learn that it was followed", func() error {
		must(t, overwrite(old.dir+"/lost", make([]byte, 4096), 0, 4096))
		return first.inspect("db").has("archive-fenced")
	})
	for _, order := range [][]string{
		{"volume", "snapshot", "db", "--tag", "of-the-first"},
		{"volume", "retain", "db", "--apply"},
		{"archive", "prune", "--apply"},
	} {
		out, err := first.Ballast(t.Context(), order...)
		t.Logf("%s on the machine that was followed: %s %v", strings.Join(order, " "), out, err)
	}
	if status := first.do("status"); !strings.Contains(status, "archive-fenced") && !strings.Contains(status, "another machine") {
		t.Errorf("status does not say that another machine continues the volume:\n%s", status)
	}
	first.do("volume", "detach", "db")
	first.do("volume", "rm", "db")
	must(t, first.Close())

	newest := followed.write("by the second machine, when the first is off")
	second.archivedSince("db", newest.began)
	h := second.history("db")
	if len(h.Problems) > 0 {
		t.Errorf("the history has problems: %q", h.Problems)
	}
	for _, s := range h.Snapshots {
		if strings.Contains(strings.Join(s.Tags, ","), "of-the-first") {
			t.Errorf("a snapshot of the machine that was followed is history: %+v", s)
		}
	}
	followed.checkEach(second)
	must(t, second.Agent.Stop(t.Context()))

	third := site.machine(t)
	third.do("recover")
	newest.compare(third, third.attach("db"), "db")
	if h := third.history("db"); len(h.Problems) > 0 {
		t.Errorf("the history has problems: %q", h.Problems)
	}
	third.do("archive", "check", "--read-data")
}
