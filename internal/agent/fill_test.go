package agent

import (
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// A25: since when a volume is this node's alone; whoever may have led it in between ends that.
func TestClaimsOneAfterTheOther(t *testing.T) {
	n, _, _ := among(t, newMachine())
	rec := adoptElsewhere(t, n, "n2")
	for _, tt := range []struct {
		name                         string
		epoch, since, before, claims ballast.Epoch
		want                         ballast.Epoch
	}{
		{"the first one", 0, 0, 4, 5, 5},
		{"the next one", 5, 5, 5, 6, 5},
		{"another node's in between", 5, 5, 6, 7, 7},
		{"another node's that was not seen", 5, 5, 5, 7, 7},
		{"of a record that is older than the node", 7, 5, 6, 8, 8},
		{"by a release that did not note it", 5, 0, 5, 6, 6},
	} {
		s := newSlot(rec.ID, attachmentState{Version: attachmentVersion, Epoch: tt.epoch, Since: tt.since})
		before, claimed := rec, rec
		before.Epoch, claimed.Epoch = tt.before, tt.claims
		if err := n.noteClaim(s, before, claimed); err != nil || s.remembered().Since != tt.want || s.remembered().Epoch != tt.claims {
			t.Errorf("%s: since epoch %d, %v; want %d", tt.name, s.remembered().Since, err, tt.want)
		}
	}
}

// A25: what this node filled is gone on with; what anybody else wrote, or nobody did, is not.
func TestGoesOnFilling(t *testing.T) {
	for _, tt := range []struct {
		name          string
		opened, since ballast.Epoch
		want          bool
	}{
		{"opened under the latest claim", 6, 6, true},
		{"opened under an earlier one, of one row", 6, 5, true},
		{"made, and never opened", 0, 5, false},
		{"a former copy", 4, 5, false},
		{"not known since when", 6, 0, false},
	} {
		n, _, _ := among(t, newMachine())
		rec := adoptElsewhere(t, n, "n2")
		s := newSlot(rec.ID, attachmentState{Version: attachmentVersion, Since: tt.since})
		if n.goesOnFilling(s) {
			t.Errorf("%s: it goes on with nothing", tt.name)
		}
		if err := n.disk.Mkdir(s.dir); err != nil {
			t.Fatal(err)
		}
		h := volume.Hollow{ID: rec.ID, Size: 4 * ballast.ChunkSize, LSN: 9, Lineage: volume.Lineage{{Epoch: 3, From: 1}}}
		if err := volume.CreateHollow(n.disk, s.dir, h); err != nil {
			t.Fatal(err)
		}
		if tt.opened > 0 {
			v, err := volume.Open(n.disk, s.dir, volume.Options{Epoch: tt.opened})
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := n.goesOnFilling(s); got != tt.want {
			t.Errorf("%s: %t; want %t", tt.name, got, tt.want)
		}
	}
}
