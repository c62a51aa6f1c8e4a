package agent

import (
	"context"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/archiver/verify"
	"github.com/ballast-io/ballast/internal/cluster"
)

// wireArchiver makes the archiver's parts; open opens the archive.
func (n *node) wireArchiver(open func(context.Context) (*archiver.Opened, error)) {
	seen := n.forArchiver()
	n.vault = archiver.NewVault(open)
	n.writers = archiver.NewWriters(seen, n.vault, n.cfg.ArchiveInterval, n.cfg.ArchiveQueue)
	n.sources = archiver.NewSources(seen, n.vault)
	n.keeper = archiver.NewKeeper(seen, n.vault, n.sources, n.cfg.Keep)
	n.removals = archiver.Removals{Node: seen, Vault: n.vault}
	n.verifier = verify.New(seen, n.newestPoint)
}

// forArchiver is the node as the archiver sees it.
func (n *node) forArchiver() archiver.Node {
	return archiver.Node{
		Name: n.cfg.Node, DataDir: n.cfg.DataDir, Disk: n.disk, Volumes: volumesDir, Log: n.log,
		Records: archivedRecords{n.records, n.archivesVolume}, Health: conditions{n.health}, Quiet: n.quiet, Meters: archiveMeters{n.meters},
		Do: n.do,
	}
}

// noArchive is the id of no archive.
const noArchive = "none"

// archiveID says which archive the node has; empty: it is not known yet.
func (n *node) archiveID() string {
	if !n.cfg.archives() {
		return noArchive
	}
	o, err := n.vault.Get()
	if err != nil {
		return ""
	}
	return o.Repo.ID()
}

func (n *node) opener() archiver.Opener {
	return archiver.Opener{Location: n.cfg.location(), Node: n.cfg.Node, Version: n.cfg.Version, Disk: n.disk, Log: n.log}
}

func (n *node) announcer() archiver.Announcer {
	return archiver.Announcer{Node: n.forArchiver(), Vault: n.vault, Location: n.cfg.location(), Queue: n.cfg.ArchiveQueue}
}

// startShipping begins to archive a volume that was attached, where it is to be.
func (n *node) startShipping(s *slot, a *attachment) {
	if !n.cfg.archives() || !archiver.Keeps(a.record.Spec.Class) || s.archiver() != nil {
		return
	}
	if w := n.writers.Start(archivedVolume(a.record), a.engine); w != nil {
		s.setArchiver(w)
	}
}

// forgetSource forgets what an attached volume was filled from, once it has everything.
// The caller has the slot's lock.
func (n *node) forgetSource(s *slot) {
	s.mu.Lock()
	st := s.status
	s.mu.Unlock()
	if st.TotalChunks == 0 || st.MissingChunks > 0 {
		return // not known, or not yet
	}
	n.sources.Forget(s.id)
}

// archivedVolume is a record as the archiver sees it.
func archivedVolume(rec cluster.Record) archiver.Volume {
	v := archiver.Volume{ID: rec.ID, Name: rec.Name, Spec: rec.Spec, Epoch: rec.Epoch, RemovedAt: rec.RemovedAt, Purging: rec.Purging, Marked: rec.Marked}
	if o := rec.Origin; o != nil {
		v.Origin = &tail.Origin{Volume: o.Volume, Snapshot: o.Snapshot, Point: tail.Point{Time: o.Time, LSN: o.LSN, Epoch: o.Epoch, Size: o.Size}}
	}
	return v
}

// archivedRecords implements [archiver.Records]: what is looked after here, which in a cluster
// that shares an archive is one node for each volume.
type archivedRecords struct {
	all  *cluster.Records
	mine func(cluster.Record) bool
}

func (r archivedRecords) ByID(id ballast.VolumeID) (archiver.Volume, error) {
	rec, err := r.all.ByID(id)
	return archivedVolume(rec), err
}

func (r archivedRecords) List() []archiver.Volume  { return r.ofMine(r.all.List()) }
func (r archivedRecords) Trash() []archiver.Volume { return r.ofMine(r.all.Trash()) }

func (r archivedRecords) SetMarked(ctx context.Context, id ballast.VolumeID, marked bool) error {
	_, err := r.all.SetMarked(ctx, id, marked)
	return err
}

func (r archivedRecords) ofMine(records []cluster.Record) []archiver.Volume {
	volumes := make([]archiver.Volume, 0, len(records))
	for _, rec := range records {
		if r.mine(rec) {
			volumes = append(volumes, archivedVolume(rec))
		}
	}
	return volumes
}

// conditions implements [archiver.Health].
type conditions struct{ *health }

func (c conditions) Raise(volume ballast.VolumeID, code, title, hint string) {
	c.raise(volume, code, title, hint)
}
func (c conditions) Clear(volume ballast.VolumeID, codes ...string) { c.clear(volume, codes...) }

// archiveMeters implements [archiver.Meters].
type archiveMeters struct{ *meters }

func (m archiveMeters) Shipped(bytes int64) { m.shippedBytes.Add(float64(bytes)) }
func (m archiveMeters) ShipFailed()         { m.shipFailures.Inc() }
func (m archiveMeters) Fetched(bytes int64) { m.fetchedBytes.Add(float64(bytes)) }
