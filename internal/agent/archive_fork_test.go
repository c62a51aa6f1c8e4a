package agent

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
	"github.com/ballast-io/ballast/internal/archiver"
)

// A volume goes on from the copy on another node, whose log begins behind what was archived: until all of
// it is here, and a base snapshot was taken, the moments between cannot be restored, and that is said.
func TestGoesOnFromMore(t *testing.T) {
	m, s := newMachine(), newSite(t)
	dir := t.TempDir()
	n, stop := archiveNode(t, m, s, dir)
	id, d := volumeOn(t, m, n, "db")
	d.write(0, 'a', second(1))
	archivedUpTo(t, d, 1)
	s.store.FailWith(func(storetest.Call) storetest.Fault { return storetest.Fault{Err: errStore} })
	d.write(1, 'b', second(2))
	d.write(2, 'c', second(3))
	mustDetach(t, n, "db", "a")
	stop()
	s.store.FailWith(nil)
	d.recycle(3)
	d.lack(2)
	if err := os.Remove(n.path(volumeDir(id), "archive.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	n, _ = archiveNode(t, m, s, dir)
	mustAttach(t, n, "db", "a")
	last := d.write(3, 'd', second(4))
	archivedUpTo(t, d, last)
	eventually(t, "the gap being said", func() bool { return hasCondition(n, id, archiver.CondGap) })
	for _, c := range n.health.of(id) {
		if c.code == archiver.CondGap && (!strings.Contains(c.title, "2026-11-21T10:00:01Z") || !strings.Contains(c.title, "another node")) {
			t.Errorf("said: %s", c.title)
		}
	}
	wantContent(t, s, id, archive.When{Time: second(1)}, map[ballast.Block]byte{0: 'a'})
	d.lack(0)
	eventually(t, "the gap's end", func() bool { return !hasCondition(n, id, archiver.CondGap) })
	wantContent(t, s, id, archive.When{}, map[ballast.Block]byte{0: 'a', 1: 'b', 2: 'c', 3: 'd'})
}

// A volume goes on from a copy that lacks what the archive has, as after a failover that was forced:
// records with the same numbers are written again, with other content. Nothing of the one way is
// ever restored together with the other.
func TestGoesOnFromLess(t *testing.T) {
	for _, tt := range []struct {
		name string
		has  ballast.LSN // of five records
		base bool        // of all five, before
	}{
		{"a part of it", 3, false},
		{"a part of it, and a base snapshot of more", 3, true},
		{"nothing", 0, false},
		{"everything", 5, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, s := newMachine(), newSite(t)
			dir := t.TempDir()
			n, stop := archiveNode(t, m, s, dir)
			id, d := volumeOn(t, m, n, "db")
			want := map[ballast.Block]byte{}
			for i := range 5 {
				last := d.write(ballast.Block(10*i), byte('a'+i), second(i))
				archivedUpTo(t, d, last)
				if last <= tt.has {
					want[ballast.Block(10*i)] = byte('a' + i)
				}
			}
			hasBase := func() bool { v, _ := n.Inspect("db"); return v.archive.state.HasBase && !v.archive.basing }
			if tt.base {
				eventually(t, "base snapshot", hasBase)
			}
			mustDetach(t, n, "db", "a")
			stop()
			d.lose(tt.has)
			if err := os.Remove(n.path(volumeDir(id), "archive.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			n, _ = archiveNode(t, m, s, dir)
			mustAttach(t, n, "db", "a")
			for i := range 4 {
				last := d.write(ballast.Block(1000+i), byte('p'+i), second(20+i))
				want[ballast.Block(1000+i)] = byte('p' + i)
				archivedUpTo(t, d, last)
			}
			eventually(t, "base snapshot", hasBase)
			last := d.write(7, 'z', second(30))
			want[7] = 'z'
			archivedUpTo(t, d, last)
			wantContent(t, s, id, archive.When{}, want)
			if tt.has > 0 {
				wantContent(t, s, id, archive.When{Time: second(0)}, map[ballast.Block]byte{0: 'a'})
			}
			o, err := s.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h, err := o.Archive.History(t.Context(), id)
			if err != nil || len(h.Problems) > 0 {
				t.Errorf("history: %v, %v; want nothing missing", h.Problems, err)
			}
		})
	}
}
