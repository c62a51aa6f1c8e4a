package agent

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// What an operator reads before they agree.
func TestRebuildPlanText(t *testing.T) {
	rec := cluster.Record{Name: "web", InSync: []ballast.NodeID{"n1"}}
	here := copyState{Here: true, State: replica.State{Lineage: volume.Lineage{{Epoch: 4, From: 1}}, Last: 90, Complete: true}}
	plan := rebuildPlan{node: "n2", lost: []string{"n1"}, heard: "at 2026-11-21 10:41:58, or before", volumes: []rebuildStep{
		{"db", cluster.FateKept, describeFate(rec, cluster.FateKept, here, true)},
		{"new", cluster.FateEmpty, describeFate(rec, cluster.FateEmpty, copyState{}, false)},
		{"tmp", cluster.FateGone, describeFate(cluster.Record{Name: "tmp", InSync: rec.InSync}, cluster.FateGone, copyState{}, false)},
		{"web", cluster.FateStale, describeFate(rec, cluster.FateStale, here, false)},
	}}
	want := `node n2 keeps no records: it asked n1, and heard from there last at 2026-11-21 10:41:58, or before.
It goes on as the only node of a NEW cluster, with what it knew of the records then. Not known are
volumes made since, and writes that a lost node acknowledged alone after it had left n2 out.

  db: goes on from the copy here, which had every acknowledged write when the others were last heard (up to record 90); it is attached here, and what uses it is ended
  new: was never attached
  tmp: LOST with n1: there is no copy here; then: ballast volume restore tmp, when the archive has it
  web: LOST with n1: what was acknowledged after record 90 of epoch 4, where the copy here ends; then: ballast volume failover web

Out for good: n1. Keep them switched off, or off this network: one that returns and reaches n2
ends what it has attached and stays out; one that does not reach it goes on with the old records.
Whoever is to be in the new cluster joins with an empty data folder.
`
	if diff := cmp.Diff(want, plan.String()); diff != "" {
		t.Error(diff)
	}
}

// Broken off anywhere, the rebuilding is done again and comes to the same; who the node was before
// is kept all the while.
func TestRebuildBrokenOff(t *testing.T) {
	cfg := Config{DataDir: t.TempDir(), Archive: NoArchive}
	n := newTestNode(t, newMachine(), cfg)
	authority, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	old, err := folderOf(authority, cluster.Node{Name: "n1", Address: "127.0.0.1:7420", Generation: 3}, "127.0.0.1:7420", "127.0.0.1:7420")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(identity.Save(n.disk, identity.Dir, old), n.openNetwork()); err != nil {
		t.Fatal(err)
	}
	made := cluster.Record{ID: "abcdefghijklmnopqrstuvwxyz", Name: "db", Spec: ballast.DefaultVolumeSpec(), CreatedAt: time.Now().UTC(), Epoch: cluster.EpochLeap}
	if err := n.beginRebuild(rebuildPlan{node: "n1", records: []cluster.Record{made}}); err != nil {
		t.Fatal(err)
	}
	step, err := vfs.ReadFile(n.disk, rebuildFile, maxRebuild)
	if err != nil {
		t.Fatal(err)
	}
	var first identity.Folder
	for _, tt := range []struct {
		name   string
		before func() error
	}{
		{"not begun", func() error { return nil }},
		{"everything made, and the step is still there", func() error { return nil }},
		{"between the two identities", func() error { return identity.Forget(n.disk, identity.Dir) }},
		{"the records half made", func() error { return forgetBelow(cfg.DataDir)(recordsDir + "/member/snap") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := errors.Join(vfs.ReplaceFile(n.disk, rebuildFile, step), tt.before()); err != nil {
				t.Fatal(err)
			}
			if err := finishRebuild(t.Context(), n.cfg, n.disk); err != nil {
				t.Fatal(err)
			}
			is, err := identity.Load(n.disk, identity.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if first.Cluster.ID == "" {
				first = is
			}
			was, err := identity.Load(n.disk, formerDir)
			if err != nil || was.Cluster.ID != old.Cluster.ID || is.Cluster.ID != first.Cluster.ID || is.Cluster.ID == was.Cluster.ID || is.Cluster.Joined || is.Cluster.Generation != 4 {
				t.Errorf("it is %+v, and was %+v, %v", is.Cluster, was.Cluster, err)
			}
			if _, err := vfs.ReadFile(n.disk, rebuildFile, maxRebuild); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the step is still there: %v", err)
			}
			if own, said := n.formerIdentity(); own == nil || said.Cluster != is.Cluster.ID {
				t.Errorf("it says %+v", said)
			}
		})
	}
	records := cluster.Open(cluster.Config{Dir: filepath.Join(cfg.DataDir, recordsDir), View: n.disk, Node: "n1", Log: n.log})
	runNode(t, records.Run)
	eventually(t, "the records", func() bool {
		got, err := records.Get("db")
		return err == nil && got.Epoch == cluster.EpochLeap
	})
}
