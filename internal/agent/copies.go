package agent

import (
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/replica/stream"
)

// Where a copy stands, in the words of the API.
const (
	copyPrimary    = "primary"
	copyInSync     = "in-sync"
	copyCatchingUp = "catching-up"
	copyHydrating  = "hydrating" // the primary's own, which is not complete
	copyAway       = "away"
	copyWaiting    = "waiting"
)

// copyView is a copy of a volume on one node.
type copyView struct {
	node     ballast.NodeID
	state    string
	inSync   bool
	durable  ballast.LSN
	lag      int64   // bytes
	progress float64 // of catching up in chunks, from 0 to 1; 0: there are none to come
	since    time.Time
	err      string
}

// viewCopies puts together what is known of a volume's copies: by its record, by the sessions
// of the nodes, and by the engine where it is attached here; status is nil else.
func viewCopies(rec cluster.Record, status *engine.Status, over func(ballast.NodeID) bool) []copyView {
	nodes := slices.Sorted(slices.Values(rec.Copies))
	views := make([]copyView, len(nodes))
	for i, node := range nodes {
		views[i] = copyView{node: node, inSync: slices.Contains(rec.InSync, node)}
		views[i].describe(rec, status, over(node))
	}
	return views
}

func (c *copyView) describe(rec cluster.Record, status *engine.Status, over bool) {
	if c.node == rec.Primary {
		c.describePrimary(status)
		if over {
			c.state = copyAway
		}
		return
	}
	switch {
	case over:
		c.state = copyAway
	case c.inSync:
		c.state = copyInSync
	default:
		c.state = copyWaiting
	}
	if status == nil {
		return
	}
	i := slices.IndexFunc(status.Copies, func(p stream.PeerStatus) bool { return p.Node == c.node })
	if i < 0 {
		return
	}
	p := status.Copies[i]
	c.durable, c.lag, c.progress, c.since, c.err = p.Durable, p.LagBytes, p.Progress, p.Since, p.Err
	if p.State != stream.Connecting && !c.inSync {
		c.state = copyCatchingUp
	}
}

func (c *copyView) describePrimary(status *engine.Status) {
	c.state = copyPrimary
	if !c.inSync {
		c.state = copyHydrating
	}
	if status == nil {
		return
	}
	c.durable = status.Durable
	if status.TotalChunks > 0 && status.MissingChunks > 0 {
		c.progress = 1 - float64(status.MissingChunks)/float64(status.TotalChunks)
	}
}
