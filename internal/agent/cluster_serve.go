package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
)

const condNotListening = "not-listening"

// runPeers answers other nodes while there is a network, until ctx ends.
func (n *node) runPeers(ctx context.Context) error {
	defer n.closeLinks()
	for ctx.Err() == nil {
		stored, changed := n.clusterInfo()
		if stored.ID == "" {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		err := n.servePeers(ctx, stored.Listen, changed)
		if err == nil {
			n.health.clear("", condNotListening)
			continue
		}
		n.quiet.Warn("listen", "other nodes cannot reach this one", "address", stored.Listen, "error", err)
		n.health.raise("", condNotListening, fmt.Sprintf("Other nodes cannot reach this one: %v. Volumes that are attached here may lose their copies elsewhere.", err),
			"free the address "+stored.Listen+", or start the agent with another one: --listen HOST:PORT")
		sleep(ctx, time.Second)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// servePeers answers at one address, until that is another.
func (n *node) servePeers(ctx context.Context, listen string, changed <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() { // ends with the context, which ends with this call
		defer close(watched)
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(); <-watched }()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	n.health.clear("", condNotListening)
	former, said := n.formerIdentity()
	return peer.NewServer(peer.Config{
		FormerOwn: former, Former: said,
		Own:     n.network().own,
		Nodes:   n.nodeGeneration,
		HTTP:    n.peerHandler(),
		Join:    peer.JoinHandler(registry{n}, n.log),
		Streams: map[string]func(context.Context, net.Conn, identity.Node){peer.ProtocolReplica: n.receive},
		Log:     n.log,
	}).Serve(ctx, l)
}

// peerHandler is what other nodes may ask. The archive's keys, tokens and joining are
// matters of this machine's root alone.
func (n *node) peerHandler() http.Handler {
	mux := http.NewServeMux()
	n.handleNodes(mux)
	path, service := ballastv1connect.NewNodeServiceHandler(nodeService{node: n}, connect.WithReadMaxBytes(maxRequest))
	mux.Handle(path, http.MaxBytesHandler(service, maxRequest))
	for _, local := range []string{ballastv1connect.NodeServiceCreateTokenProcedure, ballastv1connect.NodeServiceJoinProcedure} {
		mux.HandleFunc(local, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "this is asked on the machine itself only", http.StatusForbidden)
		})
	}
	for _, path := range cluster.HandlerPaths() {
		mux.Handle(path, n.records.Handler())
	}
	return mux
}

// registry is the cluster as it takes in machines.
type registry struct{ node *node }

var _ peer.Registry = registry{}

// Authority implements [peer.Registry].
func (r registry) Authority(ctx context.Context) (*identity.Authority, error) {
	return r.node.authority(ctx)
}

// Admit implements [peer.Registry].
func (r registry) Admit(ctx context.Context, a peer.Admission) (uint64, []identity.Address, error) {
	n := r.node
	check := func(stored []byte) error {
		if len(stored) != len(a.Hash) || !a.Hash.Equal(identity.TokenHash(stored)) {
			return fmt.Errorf("the secret is not that of token %s: %w", a.Token, ballast.ErrNotFound)
		}
		return nil
	}
	if slices.ContainsFunc(n.records.Nodes(), func(other cluster.Node) bool { return other.Address == a.Address && other.Name != a.Node }) {
		return 0, nil, fmt.Errorf("another node is at %s already; give this one another address with --listen: %w", a.Address, ballast.ErrExists)
	}
	made := cluster.Node{Name: a.Node, Address: a.Address, Version: a.Release, JoinedAt: time.Now().UTC().Truncate(time.Second)}
	admitted, err := n.records.Admit(ctx, a.Token, check, made)
	if errors.Is(err, ballast.ErrExists) && n.neverCame(a.Node) {
		// It broke off while it joined: it has nothing, and its certificate is void from now on.
		if err := n.records.RemoveNode(ctx, a.Node); err != nil {
			return 0, nil, err
		}
		admitted, err = n.records.Admit(ctx, a.Token, check, made)
	}
	if err != nil {
		return 0, nil, err
	}
	return admitted.Generation, n.addresses(), nil
}

// cameLate is how long a machine that was admitted may take before its name may be given
// to another.
const cameLate = 30 * time.Second

// neverCame reports whether a node was admitted and has never had a session.
func (n *node) neverCame(name ballast.NodeID) bool {
	return name != n.cfg.Node && cameNever(n.records.Session(name))
}

// cameNever decides that by what was seen of the node's session. One of whom this node has
// not been watching the records for so long may have come just now.
func cameNever(s cluster.Session) bool { return s.Number == 0 && s.Quiet > cameLate }

// addresses returns where the nodes of the cluster are, this one first.
func (n *node) addresses() []identity.Address {
	var all []identity.Address
	for _, other := range n.records.Nodes() {
		at := identity.Address{Node: other.Name, Address: other.Address, Generation: other.Generation}
		if other.Name == n.cfg.Node {
			all = slices.Insert(all, 0, at)
		} else {
			all = append(all, at)
		}
	}
	return all
}
