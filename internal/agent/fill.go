package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/volume"
)

// How long one other node is asked to let this one go on from its copy, and how long all of
// them are.
const (
	prepareBudget = 5 * time.Second
	preparePause  = 200 * time.Millisecond
	fillBudget    = 20 * time.Second
)

// fillFromPeer makes the volume's files here without content, as one of the in-sync copies
// stands: that one stores the epoch first, so nothing of an earlier writer comes after.
func (n *node) fillFromPeer(ctx context.Context, s *slot, rec cluster.Record) error {
	ctx, cancel := context.WithTimeout(ctx, fillBudget)
	defer cancel()
	for {
		var errs error
		for _, from := range rec.InSync {
			if from == n.cfg.Node {
				continue
			}
			point, err := n.prepareAt(ctx, from, rec)
			if err == nil {
				n.log.Info("attaching from the copy on another node, which fills in behind", "volume", rec.Name, "volume_id", rec.ID, "from", from, "lsn", uint64(point.LSN))
				err = n.makeHollowAt(s, rec, point)
				n.learnOwner(ctx, s)
				return err
			}
			errs = errors.Join(errs, fmt.Errorf("node %s: %w", from, err))
		}
		select {
		case <-time.After(preparePause):
		case <-ctx.Done():
			return fmt.Errorf("no copy that is in sync can be read; nothing was changed: %w: %w", ballast.ErrNoCopy, errs)
		}
	}
}

// goesOnFilling reports whether what is here of a volume is what this node was filling when it last
// led it, and nobody has led it since (A25). Its log has every record that was acknowledged meanwhile,
// as those of the in-sync copies have; chunks that it lacks are as of its last record or earlier there, and
// not before its beginning.
func (n *node) goesOnFilling(s *slot) bool {
	since := s.remembered().Since
	opened, err := volume.ReadEpoch(n.disk, s.dir)
	return err == nil && since > 0 && opened >= since
}

func (n *node) prepareAt(ctx context.Context, from ballast.NodeID, rec cluster.Record) (receiver.Point, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareBudget)
	defer cancel()
	return n.peers.Prepare(ctx, from, rec.ID, rec.Epoch)
}

// makeHollowAt replaces what is here of a volume, which does not count.
func (n *node) makeHollowAt(s *slot, rec cluster.Record, at receiver.Point) error {
	if err := n.wipe(s); err != nil {
		return err
	}
	h := volume.Hollow{ID: rec.ID, Size: at.Size, LSN: at.LSN, Lineage: at.Lineage}
	for _, r := range at.Lineage {
		if r.From <= at.LSN { // not that of this claim, where there is no record yet
			h.Epoch = r.Epoch
		}
	}
	if err := volume.CreateHollow(n.disk, s.dir, h); err != nil {
		return err
	}
	return n.disk.SyncDir(volumesDir)
}

// fillsFromPeers reports whether a volume that is attached here gets what it lacks from
// other nodes, and not from the archive.
func (n *node) fillsFromPeers(rec cluster.Record) bool {
	return rec.Primary == n.cfg.Node && len(rec.InSync) > 0 && !slices.Contains(rec.InSync, n.cfg.Node)
}

// serveChunk answers an engine that lacks a chunk.
func (n *node) serveChunk(w http.ResponseWriter, r *http.Request) {
	rec, err := n.records.ByID(ballast.VolumeID(r.PathValue("volume")))
	if err != nil || !n.fillsFromPeers(rec) {
		n.sources.ServeChunk(w, r)
		return
	}
	chunk, err := strconv.Atoi(r.PathValue("chunk"))
	if err != nil || chunk < 0 {
		http.Error(w, "no such chunk", http.StatusBadRequest)
		return
	}
	p := make([]byte, ballast.ChunkSize)
	if err := n.chunkFromPeers(r.Context(), rec, chunk, p); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	writeChunk(w, p)
}

func writeChunk(w http.ResponseWriter, p []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(p)))
	_, _ = w.Write(p) // the asker has gone
}

// chunkFromPeers reads a chunk from the first in-sync copy that has it.
func (n *node) chunkFromPeers(ctx context.Context, rec cluster.Record, chunk int, p []byte) error {
	// Not the record's epoch, which may be an earlier one yet as this node knows it: a copy that has not heard
	// of this writer does not have all that was acknowledged to the one before.
	here, err := volume.ReadBeginning(n.disk, n.slot(rec.ID).dir)
	if err != nil {
		return err
	}
	var errs error
	for _, from := range rec.InSync {
		if from == n.cfg.Node {
			continue
		}
		err := n.peers.Chunk(ctx, from, rec.ID, here, chunk, p)
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, fmt.Errorf("node %s: %w", from, err))
	}
	return fmt.Errorf("read chunk %d of volume %q from a copy in sync: %w", chunk, rec.Name, errs)
}
