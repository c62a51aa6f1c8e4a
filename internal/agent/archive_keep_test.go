package agent

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/cluster"
)

// What a volume is still being filled from stays, whatever its source's retention says.
func TestRetainKeepsWhatIsNeeded(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	id, d := volumeOn(t, m, n, "db")
	for i := range 5 {
		d.write(ballast.Block(i), byte('a'+i), second(i))
		archivedUpTo(t, d, ballast.LSN(i+1))
	}
	eventually(t, "base snapshot", func() bool { v, _ := n.Inspect("db"); return v.archive.state.HasBase && !v.archive.basing })
	out, err := n.RestoreAt(t.Context(), restoreRequest{name: "db", as: "db-then", moment: moment{at: second(2)}})
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.keeper.Retain(t.Context(), o, id, "any second for 1min", true); err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, out.volume.record.ID, archive.When{}, map[ballast.Block]byte{0: 'a', 1: 'b', 2: 'c'})
	wantContent(t, s, id, archive.When{}, map[ballast.Block]byte{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'})
	// While somebody looks for a point, none goes.
	release, err := n.keeper.Reading(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.keeper.Retain(t.Context(), o, id, "any second for 1min", true); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("retained while a point is being looked for: %v; want in use", err)
	}
	release()
	if _, err := n.keeper.Retain(t.Context(), o, id, "any second for 1min", true); err != nil {
		t.Error(err)
	}
}

// A removed volume is not recovered, and one that came back is.
func TestRemovedIsTold(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	mustDetach(t, n, "db", "a")
	isRemoved := func() bool {
		o, err := s.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h, err := o.Archive.History(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return !h.Removed.IsZero()
	}
	if _, err := n.Remove(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	n.removals.Tell(t.Context())
	if !isRemoved() {
		t.Error("the archive does not know that the volume was removed")
	}
	other, _ := archiveNode(t, newMachine(), s, t.TempDir())
	recoverAll(t, other, 0)
	if _, err := n.Restore(t.Context(), "db", ""); err != nil {
		t.Fatal(err)
	}
	n.removals.Tell(t.Context())
	if isRemoved() {
		t.Error("the archive does not know that the volume came back")
	}
	recoverAll(t, other, 1)
}

// Who restores a removed volume need not be the node that said in the archive that it was removed: no
// note of that is here then, or one of an earlier removal.
func TestRemovedIsTakenBackByAnother(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	mustDetach(t, n, "db", "a")
	isRemoved := func() bool {
		o, err := s.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h, err := o.Archive.History(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return !h.Removed.IsZero()
	}
	note := n.path(volumeDir(id), "archive.removed")
	for _, left := range []string{"", "2020-01-02T03:04:05Z"} { // by another node, here: of an earlier removal
		if _, err := n.Remove(t.Context(), "db"); err != nil {
			t.Fatal(err)
		}
		n.removals.Tell(t.Context())
		if !isRemoved() {
			t.Errorf("the archive does not know that the volume was removed, where %q was noted", left)
		}
		if err := os.Remove(note); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Restore(t.Context(), "db", ""); err != nil {
			t.Fatal(err)
		}
		n.removals.Tell(t.Context())
		if isRemoved() {
			t.Errorf("the archive does not know that the volume came back, where %q was noted", left)
		}
		if err := os.WriteFile(note, []byte("2020-01-02T03:04:05Z"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A retention that nobody understands is refused while the user looks, with those that are.
func TestKeepIsCheckedAtCreation(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	mustCreate(t, n, "db", map[string]string{"keep": "any second for 1h, daily 7d"})
	_, err := n.Create(t.Context(), "other", map[string]string{"keep": "for ever"})
	if !errors.Is(err, ballast.ErrInvalid) || !strings.Contains(err.Error(), "hourly, daily, weekly") {
		t.Errorf("create: %v; want invalid, and what is known", err)
	}
	if _, err := n.Inspect("other"); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("inspect: %v; want not found", err)
	}
}

// What a crash left of a volume that was being made goes; what has a record stays.
func TestSweepMaking(t *testing.T) {
	m, s := newMachine(), newSite(t)
	n, _ := archiveNode(t, m, s, t.TempDir())
	v := mustCreate(t, n, "db", map[string]string{"size": "16M"})
	mustAttach(t, n, "db", "a")
	mustDetach(t, n, "db", "a")
	left := cluster.NewVolumeID()
	being := cluster.NewVolumeID()
	for _, id := range []ballast.VolumeID{left, being, v.record.ID} {
		if err := os.MkdirAll(n.path(volumeDir(id)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(n.path(volumeDir(id), makingFile), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.setMaking(being, true)
	n.sweepMaking(t.Context())
	for _, tt := range []struct {
		name, path string
		want       bool
	}{
		{"what a crash left", n.path(volumeDir(left)), false},
		{"what is being made", n.path(volumeDir(being)), true},
		{"a volume", n.path(volumeDir(v.record.ID), "volume.json"), true},
		{"its mark", n.path(volumeDir(v.record.ID), makingFile), false},
	} {
		if got := exists(tt.path); got != tt.want {
			t.Errorf("%s is there: %t; want %t", tt.name, got, tt.want)
		}
	}
}
