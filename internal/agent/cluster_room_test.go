package agent

import (
	"testing"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
)

// A node that has nothing of a volume asks who has it how much a copy takes; else it would be as much as
// the volume may grow to, for which many a disk has no room.
func TestRoomIsAskedFor(t *testing.T) {
	n, peers, _ := among(t, newMachine())
	rec := adoptElsewhere(t, n, "n2")
	if got := n.roomFor(rec); got != 8<<30 {
		t.Errorf("room before anybody was asked = %d; want 8 GiB", got)
	}
	peers.set(func() {
		peers.volumes["n2"] = &v1.Volume{Id: string(rec.ID), Name: "db", UsedBytes: 100 << 20}
	})
	n.learnUsed(t.Context(), n.clusterView())
	if got := n.roomFor(rec); got != 100<<20 {
		t.Errorf("room = %d; want what n2 says, 100 MiB", got)
	}
	n.used.forget(func(ballast.VolumeID) bool { return false })
	if got := n.used.of(rec.ID); got != (usage{}) {
		t.Errorf("of a volume that is gone %v is remembered", got)
	}
}
