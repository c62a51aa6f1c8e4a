package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
)

// mayDrop decides whether a node may delete what it has of a volume, by its record: nothing
// there counts or is to count, and enough does elsewhere (A20).
func mayDrop(rec cluster.Record, node ballast.NodeID) bool {
	switch {
	case rec.Purging:
		return true
	case rec.Epoch == 0, rec.Primary == node:
		return false
	case slices.Contains(rec.Copies, node), slices.Contains(rec.InSync, node):
		return false
	}
	return len(rec.InSync) >= rec.Spec.CopiesNeeded()
}

// dropUnwanted deletes a copy that is no longer wanted here. The caller has the slot's
// lock, and the volume is not attached.
func (n *node) dropUnwanted(ctx context.Context, s *slot) {
	rec, err := n.records.ByID(s.id)
	if err != nil || !mayDrop(rec, n.cfg.Node) || rec.Purging || !n.hasFiles(s) || n.isMaking(s.id) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recordBudget)
	defer cancel()
	if rec, err = n.records.Read(ctx, s.id); err != nil || !mayDrop(rec, n.cfg.Node) {
		return // looked at again soon, and nobody is disturbed for it
	}
	if err := n.deleteCopyLocked(ctx, s, rec); err != nil {
		n.quiet.Warn("drop "+string(s.id), "a copy that is no longer wanted here was not deleted", "volume", rec.Name, "error", err)
		return
	}
	n.log.Info("deleted a copy that is no longer wanted here", "volume", rec.Name, "volume_id", s.id, "in_sync", rec.InSync)
}

// deleteCopy deletes what this node has of a volume that is not attached here.
func (n *node) deleteCopy(ctx context.Context, s *slot, rec cluster.Record) error {
	if err := n.acquire(ctx, s, "deleting"); err != nil {
		return err
	}
	defer s.release()
	return n.deleteCopyLocked(ctx, s, rec)
}

func (n *node) deleteCopyLocked(ctx context.Context, s *slot, rec cluster.Record) error {
	inUse := fmt.Errorf("the copy of volume %q here counts, or is in use: %w", rec.Name, ballast.ErrInUse)
	if s.current() != nil || !mayDrop(rec, n.cfg.Node) {
		return inUse
	}
	return n.following.Drop(ctx, s.id, func() error {
		// Until its stream was ended the copy could be placed here again, filled and counted.
		now, err := n.records.Read(ctx, s.id)
		switch {
		case err != nil:
			return err
		case !mayDrop(now, n.cfg.Node):
			return inUse
		}
		return n.deleteFiles(s)
	})
}

// deleteFiles removes a copy's files. Which epochs it has seen stays known.
func (n *node) deleteFiles(s *slot) error {
	n.sources.Drop(s.id)
	if err := n.removeFiles(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.usedBytes = attachmentState{Version: attachmentVersion, BootID: n.boot, Epoch: s.state.Epoch}, 0
	return nil
}

// purgeBudget is how long another node may take to delete its copy of a removed volume.
const purgeBudget = 30 * time.Second

// purgeElsewhere has every other node of the cluster delete what it has of a volume whose
// purge began. One that is away is asked again later: until then the record stays, and with
// it what says that its files may go.
func (n *node) purgeElsewhere(ctx context.Context, rec cluster.Record) error {
	var errs error
	for _, other := range n.records.Nodes() {
		if other.Name == n.cfg.Node {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, purgeBudget)
		if err := n.peers.Purge(asking, other.Name, rec.ID); err != nil {
			errs = errors.Join(errs, fmt.Errorf("node %s: %w", other.Name, err))
		}
		cancel()
	}
	return errs
}

// purges reports whether this node is the one that ends a removed volume: the first that is
// there, in order of names.
func (n *node) purges() bool {
	for _, other := range n.records.Nodes() {
		if other.Name == n.cfg.Node || !n.records.Session(other.Name).Over {
			return other.Name == n.cfg.Node
		}
	}
	return true // a node on its own
}
