package peer

import (
	"context"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
)

// What a connection is for, as its ALPN says.
const (
	ProtocolReplica = "ballast-replica/1" // a volume's stream
	ProtocolHTTP1   = "http/1.1"
	ProtocolHTTP2   = "h2"
)

// Nodes returns the generation that a node has in the cluster; false when it is no
// node of it, or not any more. It is called at every connection and request, and must not wait.
type Nodes func(node ballast.NodeID) (generation uint64, ok bool)

// allow refuses nodes that are not, or not any more, of the cluster (P3).
func (nodes Nodes) allow(who identity.Node) error {
	generation, ok := nodes(who.Name)
	if !ok {
		return fmt.Errorf("node %s is not in this cluster (any more)", who.Name)
	}
	if generation != who.Generation {
		return fmt.Errorf("the certificate of node %s is of its generation %d, and it has %d now", who.Name, who.Generation, generation)
	}
	return nil
}

type nodeKey struct{}

// From returns which node sent a request that a [Server] serves.
func From(ctx context.Context) (identity.Node, bool) {
	n, ok := ctx.Value(nodeKey{}).(identity.Node)
	return n, ok
}

// With returns ctx as that of a request that node sent; for what serves requests in tests.
func With(ctx context.Context, node identity.Node) context.Context {
	return context.WithValue(ctx, nodeKey{}, node)
}
