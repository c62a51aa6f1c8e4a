package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/placement"
)

// usages is how much of its node's disk each volume takes, as other nodes said.
type usages struct {
	mu    sync.Mutex // guards heard
	heard map[ballast.VolumeID]usage
}

type usage struct {
	bytes int64     // 0: nobody said
	asked time.Time // when somebody was asked last
}

// usedFor is how long what was heard counts.
const usedFor = time.Minute

func (u *usages) of(id ballast.VolumeID) usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.heard[id]
}

func (u *usages) note(id ballast.VolumeID, bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.heard == nil {
		u.heard = map[ballast.VolumeID]usage{}
	}
	u.heard[id] = usage{max(bytes, u.heard[id].bytes), time.Now()}
}

// forget drops what was heard of volumes that are gone.
func (u *usages) forget(exists func(ballast.VolumeID) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id := range u.heard {
		if !exists(id) {
			delete(u.heard, id)
		}
	}
}

// learnUsed asks the nodes that have volumes whose copies are too few how much these take: what may
// become of a volume, by its size, many a disk has no room for, and volumes are thin.
func (n *node) learnUsed(ctx context.Context, view placement.View) {
	asked := map[ballast.NodeID][]ballast.VolumeID{}
	for _, vol := range view.Lacking() {
		if time.Since(n.used.of(vol.ID).asked) < usedFor {
			continue
		}
		for _, at := range vol.InSync {
			if at != n.cfg.Node && n.awayFor(at) == 0 {
				asked[at] = append(asked[at], vol.ID)
				n.used.note(vol.ID, 0) // asked; who answers nothing is not asked again at once
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	var all sync.WaitGroup
	for at, ids := range asked {
		all.Go(func() { n.learnUsedAt(ctx, at, ids) })
	}
	all.Wait()
}

func (n *node) learnUsedAt(ctx context.Context, at ballast.NodeID, ids []ballast.VolumeID) {
	resp, err := n.volumesAt(at).List(ctx, connect.NewRequest(&v1.ListRequest{}))
	if err != nil {
		return // it is asked again
	}
	said := map[string]uint64{}
	for _, v := range resp.Msg.GetVolumes() {
		said[v.GetId()] = v.GetUsedBytes()
	}
	for _, id := range ids {
		n.used.note(id, int64(min(said[string(id)], 1<<60)))
	}
}

// roomFor returns how many bytes a copy of a volume takes: what it takes here, or on another node,
// where that is known, else as much as it may grow to, within reason: volumes are thin.
func (n *node) roomFor(rec cluster.Record) int64 {
	const thin = 8 << 30
	known := n.used.of(rec.ID).bytes
	if s := n.peek(rec.ID); s != nil {
		s.mu.Lock()
		known = max(known, s.usedBytes)
		s.mu.Unlock()
	}
	if known > 0 {
		return known
	}
	return min(rec.Spec.Size, thin)
}

// whyNoRoom says that no node that could take a copy of a volume has room for it; empty: one has, or
// room is not what is missing.
func (n *node) whyNoRoom(rec cluster.Record) string {
	view := n.clusterView()
	for _, vol := range view.Lacking() {
		if vol.ID != rec.ID {
			continue
		}
		full := view.WithoutRoom(vol)
		if len(full) == 0 {
			return ""
		}
		var nodes []string
		for _, k := range full {
			nodes = append(nodes, fmt.Sprintf("%s, with %s free", k.Name, ballast.FormatSize(k.Free>>20<<20)))
		}
		return fmt.Sprintf("A copy takes %s, and its node shall have %s left: there is no room on %s.", ballast.FormatSize(max(1, vol.Room>>20)<<20), ballast.FormatSize(placement.Reserve), strings.Join(nodes, "; "))
	}
	return ""
}
