package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/peer"
)

// The copies of a volume have one owner in the archive: what one of them has shipped another one
// continues. Machines of another cluster, who recover the volume, do not know it, and so fence
// this one off.

// ownerReply is the answer to GET /volumes/{volume}/owner.
type ownerReply struct {
	Owner string `json:"owner"`
}

// answerOwner tells a node that has a copy, or is to have one, who owns the volume's history.
func (n *node) answerOwner(w http.ResponseWriter, r *http.Request) {
	id := ballast.VolumeID(r.PathValue("volume"))
	rec, err := n.records.ByID(id)
	from, ok := peer.From(r.Context())
	if err == nil && (!ok || !slices.Contains(rec.Copies, from.Name)) {
		err = fmt.Errorf("there is to be no copy of volume %q on node %s: %w", rec.Name, from.Name, ballast.ErrInvalid)
	}
	var reply ownerReply
	if err == nil && !n.hasFiles(n.slot(id)) {
		err = fmt.Errorf("this node has no copy of volume %q: %w", rec.Name, ballast.ErrNotFound)
	}
	if err == nil {
		reply.Owner, err = archiver.OwnerOf(n.disk, volumeDir(id))
	}
	answerJSON(w, reply, err)
}

// learnOwner asks the other copies of a volume who owns its history, where the copy here does
// not know. Not to know costs a base snapshot when this node has to continue it.
func (n *node) learnOwner(ctx context.Context, s *slot) {
	rec, err := n.records.ByID(s.id)
	if err != nil || !n.cfg.archives() || !archiver.Keeps(rec.Spec.Class) || archiver.HasOwner(n.disk, s.dir) {
		return
	}
	if !slices.ContainsFunc(append(slices.Clone(rec.InSync), rec.Primary), func(node ballast.NodeID) bool { return node != n.cfg.Node && node != "" }) {
		return // the first copy makes it up
	}
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	errs := fmt.Errorf("there is no other copy")
	for _, from := range append([]ballast.NodeID{rec.Primary}, rec.InSync...) {
		if from == "" || from == n.cfg.Node {
			continue
		}
		owner, err := n.peers.Owner(ctx, from, rec.ID)
		if err == nil {
			err = archiver.SetOwner(n.disk, s.dir, owner)
		}
		if err == nil {
			return
		}
		errs = errors.Join(errs, err)
	}
	n.quiet.Warn("owner "+string(s.id), "who owns the volume's history in the archive is not known here yet", "volume", rec.Name, "error", errs)
}

// archivesVolume reports whether this node is the one that looks after what the archive has of a
// volume: its primary, and of one that nobody has attached the first node in sync that is there.
func (n *node) archivesVolume(rec cluster.Record) bool {
	if rec.Primary != "" {
		return rec.Primary == n.cfg.Node
	}
	for _, node := range rec.InSync {
		if node == n.cfg.Node || !n.records.Session(node).Over {
			return node == n.cfg.Node
		}
	}
	return n.purges()
}
