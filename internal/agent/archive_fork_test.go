package agent

import (
	"errors"
	"os"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
)

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
