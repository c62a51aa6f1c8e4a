package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// A node that only ever asked others for the records, and whose others are lost for good, begins
// another cluster with what it knows: the last view of the records, and the copies that it has.

// errRebuilt ends a node that is the first one of another cluster from now on.
var errRebuilt = errors.New("this node goes on as another cluster")

// rebuildPlan is what becomes of everything.
type rebuildPlan struct {
	node    ballast.NodeID
	lost    []string // the other nodes
	heard   string   // when they were heard last
	volumes []rebuildStep
	records []cluster.Record
}

// rebuildStep is what becomes of one volume.
type rebuildStep struct {
	name string
	fate cluster.Fate
	says string
}

// rebuild begins another cluster, when this node was told to go on alone and has no records of its
// own to go on with, and an operator agrees to the plan. It reports whether it has begun.
func (n *node) rebuild(ctx context.Context) (bool, error) {
	if !n.cfg.ForceNewCluster || len(n.cfg.Etcd) > 0 || !n.records.IsClient() {
		return false, nil
	}
	if err := n.records.OthersAgree(ctx); err != nil {
		return false, err
	}
	plan, err := n.planRebuild(ctx)
	if err != nil {
		return false, fmt.Errorf("plan the rebuilding of the records: %w", err)
	}
	if n.cfg.Confirm == nil {
		return false, fmt.Errorf("nobody was asked whether to rebuild the records from this node's view; nothing was changed: %w", ballast.ErrInvalid)
	}
	if err := n.cfg.Confirm(ctx, plan.String()); err != nil {
		return false, err
	}
	if err := n.beginRebuild(plan); err != nil {
		return false, err
	}
	n.log.Warn("an operator said that the nodes that kept the records are lost for good; this node goes on as another cluster", "lost", plan.lost, "volumes", len(plan.records))
	return true, nil
}

// planRebuild changes nothing.
func (n *node) planRebuild(ctx context.Context) (rebuildPlan, error) {
	plan := rebuildPlan{node: n.cfg.Node, heard: n.heardLast()}
	for _, other := range n.records.Nodes() {
		if other.Name != n.cfg.Node {
			plan.lost = append(plan.lost, string(other.Name))
		}
	}
	all := n.allRecords()
	if len(all) == 0 && len(plan.lost) == 0 {
		return plan, fmt.Errorf("this node's view of the records, %s, is empty or gone: there is nothing to go on with; begin a new cluster on an empty data folder and bring the volumes back with `ballast recover`: %w", n.path(viewFile), ballast.ErrNotFound)
	}
	for _, rec := range all {
		found, running := n.copyOffline(ctx, rec.ID)
		state, err := loadAttachment(n.disk, volumeDir(rec.ID), n.boot)
		if err != nil {
			state = attachmentState{}
		}
		here := cluster.CopyHere{Epoch: max(found.Epoch, state.Epoch), Usable: found.Here && found.Err == "" && found.State.Complete}
		next, fate := cluster.DecideRebuilt(rec, n.cfg.Node, here)
		plan.records = append(plan.records, next)
		plan.volumes = append(plan.volumes, rebuildStep{rec.Name, fate, describeFate(rec, fate, found, running)})
	}
	return plan, nil
}

// describeFate says in words what becomes of a volume.
func describeFate(rec cluster.Record, fate cluster.Fate, found copyState, running bool) (says string) {
	switch fate {
	case cluster.FateEmpty:
		says = "was never attached"
	case cluster.FateKept:
		says = fmt.Sprintf("goes on from the copy here, which had every acknowledged write when the others were last heard (up to record %d)", found.State.Last)
	case cluster.FateStale:
		says = fmt.Sprintf("LOST with %s: what was acknowledged after record %d of epoch %d, where the copy here ends; then: ballast volume failover %s", joinNodes(rec.InSync), found.State.Last, lastEpochOf(found), rec.Name)
	case cluster.FateGone:
		why := "there is no copy here"
		if found.Here {
			why = "the copy here is not whole"
			if found.Err != "" {
				why = "the copy here cannot be used (" + found.Err + ")"
			}
		}
		says = fmt.Sprintf("LOST with %s: %s; then: ballast volume restore %s, when the archive has it", joinNodes(rec.InSync), why, rec.Name)
	}
	if running {
		says += "; it is attached here, and what uses it is ended"
	}
	return says
}

// heardLast says when those that kept the records were last known to be there.
func (n *node) heardLast() string {
	_, until, _ := n.session.keeper.Read()
	renewed, now := until-n.lease()+n.lease()/10, lease.Now() // see session.renewed
	if until == 0 || renewed > now || renewed < 0 {
		return "at a time that is not known, before this machine was started"
	}
	return "at " + time.Now().Add(renewed-now).Format(time.DateTime) + ", or before"
}

// copyOffline looks at a copy while no agent runs: at the files, or at the engine that has them.
func (n *node) copyOffline(ctx context.Context, id ballast.VolumeID) (found copyState, running bool) {
	dir := volumeDir(id)
	if e, err := n.engines.Dial(ctx, n.path(dir)); err == nil {
		defer e.Close() // only forgets it
		return n.copyOfEngine(ctx, &attachment{engine: e}), true
	}
	if _, err := volume.ReadIdentity(n.disk, dir); errors.Is(err, fs.ErrNotExist) {
		return copyState{}, false
	}
	unlock, err := engine.Lock(n.path(dir))
	if err != nil {
		return copyState{Here: true, Err: err.Error()}, false
	}
	defer unlock()
	f, err := n.openFollower(n.slot(id), id, 0, false)
	if err != nil {
		return copyState{Here: true, Err: err.Error()}, false
	}
	defer f.Close() // was only looked at
	st := f.State()
	found = copyState{Here: true, Epoch: st.Epoch, State: replica.State{Lineage: st.Lineage, Last: st.Durable, Applied: st.Applied, Complete: st.Complete}}
	if st.Err != nil {
		found.Err = st.Err.Error()
	}
	return found, false
}

// String is the plan for people.
func (p rebuildPlan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s keeps no records: it asked %s, and heard from there last %s.\n", p.node, strings.Join(p.lost, ", "), p.heard)
	fmt.Fprintf(&b, "It goes on as the only node of a NEW cluster, with what it knew of the records then. Not known are\n")
	fmt.Fprintf(&b, "volumes made since, and writes that a lost node acknowledged alone after it had left %s out.\n\n", p.node)
	for _, v := range p.volumes {
		fmt.Fprintf(&b, "  %s: %s\n", v.name, v.says)
	}
	if len(p.volumes) == 0 {
		fmt.Fprintf(&b, "  there are no volumes\n")
	}
	fmt.Fprintf(&b, "\nOut for good: %s. Keep them switched off, or off this network: one that returns and reaches %s\n", strings.Join(p.lost, ", "), p.node)
	fmt.Fprintf(&b, "ends what it has attached and stays out; one that does not reach it goes on with the old records.\n")
	fmt.Fprintf(&b, "Whoever is to be in the new cluster joins with an empty data folder.\n")
	return b.String()
}

// rebuildFile holds what a node becomes by rebuilding, until it has become it: from the moment it
// is on disk the node is the new cluster's, and before that its old self.
const rebuildFile = "rebuild.json"

const maxRebuild = 256 << 20 // bytes

type rebuilding struct {
	Version int             `json:"version"`
	At      time.Time       `json:"at"`
	Folder  joining         `json:"folder"` // the new identity
	Rebuilt cluster.Rebuilt `json:"rebuilt"`
}

func (n *node) beginRebuild(plan rebuildPlan) error {
	authority, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		return err
	}
	stored, _ := n.clusterInfo()
	at := time.Now().UTC().Truncate(time.Second)
	self := cluster.Node{Name: n.cfg.Node, Address: stored.Address, Version: n.cfg.Version, JoinedAt: at, Generation: stored.Generation + 1}
	for _, other := range n.records.Nodes() {
		self.Generation = max(self.Generation, other.Generation+1)
	}
	folder, err := folderOf(authority, self, stored.Listen, stored.Address)
	if err != nil {
		return err
	}
	key, err := folder.Key.Encode()
	if err != nil {
		return err
	}
	r := rebuilding{Version: 1, At: at, Folder: joining{1, folder.Cluster, folder.CA, folder.Certificate, key}, Rebuilt: cluster.Rebuilt{Node: self, Records: plan.records}}
	if r.Rebuilt.Authority, err = authority.Encode(); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(n.disk, rebuildFile, data)
}

// finishRebuild makes of the node what rebuild.json says, if there is one. Broken off, it is done
// again: nobody is served before it is done.
func finishRebuild(ctx context.Context, cfg Config, disk vfs.FS) error {
	data, err := vfs.ReadFile(disk, rebuildFile, maxRebuild)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finish rebuilding: %w", err)
	}
	var r rebuilding
	if err := json.Unmarshal(data, &r); err != nil || r.Version != 1 {
		return fmt.Errorf("finish rebuilding: %s has format %d, or is damaged (%w); delete it, and force a new cluster again", rebuildFile, r.Version, err)
	}
	key, err := identity.ParseKey(r.Folder.Key)
	if err != nil {
		return fmt.Errorf("finish rebuilding: %w", err)
	}
	folder := identity.Folder{Cluster: r.Folder.Cluster, CA: r.Folder.CA, Certificate: r.Folder.Certificate, Key: key}
	err = folder.Check()
	if err == nil {
		err = forgetBelow(cfg.DataDir)(recordsDir + "/member")
	}
	if err == nil {
		err = cluster.Restore(ctx, filepath.Join(cfg.DataDir, recordsDir), r.Rebuilt, cfg.Log)
	}
	if err == nil {
		err = changeIdentity(disk, folder, r.At)
	}
	if err == nil {
		err = errors.Join(removeFile(disk, viewFile), removeFile(disk, rebuildFile))
	}
	if err != nil {
		return fmt.Errorf("finish rebuilding: %w", err)
	}
	return disk.SyncDir(".")
}

// changeIdentity gives the node another identity, and keeps the one that it had: with it the node
// proves to who returns that it went on without them.
func changeIdentity(disk vfs.FS, folder identity.Folder, at time.Time) error {
	old, err := identity.Load(disk, identity.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist): // broken off in between: the former one is kept already
	case err != nil:
		return err
	case old.Cluster.ID == folder.Cluster.ID:
		return nil
	default:
		if err := errors.Join(identity.Forget(disk, formerDir), identity.Save(disk, formerDir, old)); err != nil {
			return err
		}
		said, err := json.Marshal(formerly{folder.Cluster.ID, at})
		if err != nil {
			return err
		}
		if err := vfs.ReplaceFile(disk, formerDir+"/"+formerFile, said); err != nil {
			return err
		}
	}
	return errors.Join(identity.Forget(disk, identity.Dir), identity.Save(disk, identity.Dir, folder))
}
