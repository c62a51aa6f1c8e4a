package agent

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/peer"
)

// askBudget is how long another node is asked how a volume is before the record has to do.
const askBudget = 1500 * time.Millisecond

// isForwarded reports whether a request came from another node, which wants this one's own
// answer: nothing is forwarded twice.
func isForwarded(ctx context.Context) bool {
	_, ok := peer.From(ctx)
	return ok
}

// elsewhere returns the node that a request is for, when that is another one and was asked
// for by name.
func (n *node) elsewhere(ctx context.Context, asked string) (ballast.NodeID, bool) {
	to := ballast.NodeID(asked)
	return to, to != "" && to != n.cfg.Node && !isForwarded(ctx)
}

// holder returns the other node that has a volume attached.
func (n *node) holder(ctx context.Context, rec cluster.Record) (ballast.NodeID, bool) {
	return n.elsewhere(ctx, string(rec.Primary))
}

// volumesAt returns the volume service of another node.
func (n *node) volumesAt(node ballast.NodeID) ballastv1connect.VolumeServiceClient {
	return n.peers.Volumes(node)
}

// inspectElsewhere returns what the node that has a volume says of it, or nil when it does
// not say so in time.
func (n *node) inspectElsewhere(ctx context.Context, rec cluster.Record) *v1.Volume {
	at, ok := n.holder(ctx, rec)
	if !ok || n.records.Session(at).Over {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	resp, err := n.volumesAt(at).Inspect(ctx, connect.NewRequest(&v1.InspectRequest{Name: rec.Name}))
	if err != nil || resp.Msg.GetVolume().GetId() != string(rec.ID) {
		return nil
	}
	return resp.Msg.GetVolume()
}

// listElsewhere asks every node that has volumes of a list attached, side by side, and
// returns what they say, by id.
func (n *node) listElsewhere(ctx context.Context, views []volumeView) map[string]*v1.Volume {
	asked := map[ballast.NodeID]chan []*v1.Volume{}
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	for _, v := range views {
		at, ok := n.holder(ctx, v.record)
		if !ok || asked[at] != nil || n.records.Session(at).Over {
			continue
		}
		answer := make(chan []*v1.Volume, 1)
		asked[at] = answer
		go func() { // ends with ctx, and is waited for
			resp, err := n.volumesAt(at).List(ctx, connect.NewRequest(&v1.ListRequest{}))
			if err != nil {
				answer <- nil
				return
			}
			answer <- resp.Msg.GetVolumes()
		}()
	}
	known := map[string]*v1.Volume{}
	for at, answer := range asked {
		for _, v := range <-answer {
			if v.GetPrimary() == string(at) {
				known[v.GetId()] = v
			}
		}
	}
	return known
}
