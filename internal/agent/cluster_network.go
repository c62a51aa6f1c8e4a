package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
	"github.com/ballast-io/ballast/internal/vfs"
)

// network is how this node and the others reach each other.
type network struct {
	own    *identity.Credentials
	dialer *peer.Dialer
}

// links is the node's network, and who is reached over it. A node on its own that
// never made a token has none, and listens nowhere.
type links struct {
	mu      sync.Mutex // guards everything below
	net     *network
	stored  identity.Cluster // as cluster.json has it
	changed chan struct{}    // closed when net or where it listens changes; then there is another
	clients map[ballast.NodeID]*http.Client
}

func newLinks() *links {
	return &links{changed: make(chan struct{}), clients: map[ballast.NodeID]*http.Client{}}
}

// openNetwork reads the node's identity; a node without one has no network.
func (n *node) openNetwork() error {
	own, err := identity.Open(n.disk, identity.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	folder, err := identity.Load(n.disk, identity.Dir)
	if err != nil {
		return err
	}
	n.links.set(&network{own: own, dialer: peer.NewDialer(own, n.nodeGeneration)}, folder.Cluster)
	return nil
}

func (l *links) set(net *network, stored identity.Cluster) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.net, l.stored = net, stored
	close(l.changed)
	l.changed = make(chan struct{})
}

// network returns the node's network, nil when it has none.
func (n *node) network() *network {
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	return n.links.net
}

// clusterInfo returns what is stored of the cluster, and what is closed when that or the
// network changes. Its ID is empty when there is no network.
func (n *node) clusterInfo() (identity.Cluster, <-chan struct{}) {
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	return n.links.stored, n.links.changed
}

// nodeGeneration is the [peer.Nodes] of this node: who is in the cluster, by the records and,
// as long as they have not been read yet, by what was stored of them. Else nodes
// that all start at once would wait for each other's records for ever.
func (n *node) nodeGeneration(name ballast.NodeID) (uint64, bool) {
	if known := n.records.Nodes(); len(known) > 0 {
		found, ok := n.records.Node(name)
		return found.Generation, ok
	}
	stored, _ := n.clusterInfo()
	if name == stored.Node {
		return stored.Generation, true
	}
	for _, p := range stored.Peers {
		if p.Node == name {
			return p.Generation, true
		}
	}
	return 0, false
}

// nodeAddress returns where a node is reached, host:port.
func (n *node) nodeAddress(name ballast.NodeID) (string, error) {
	if found, ok := n.records.Node(name); ok && found.Address != "" {
		return found.Address, nil
	}
	stored, _ := n.clusterInfo()
	for _, p := range stored.Peers {
		if p.Node == name {
			return p.Address, nil
		}
	}
	return "", fmt.Errorf("there is no node %q in the cluster: %w", name, ballast.ErrNotFound)
}

// client returns what speaks HTTP to another node, and the URL to begin with. Requests to
// a node that is away fail after a few seconds; what they are for must be bounded by their context.
func (n *node) client(name ballast.NodeID) (*http.Client, string, error) {
	if n.network() == nil {
		return nil, "", errAlone
	}
	if _, err := n.nodeAddress(name); err != nil {
		return nil, "", err
	}
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	c := n.links.clients[name]
	if c == nil {
		c = n.links.net.dialer.HTTP(name, func() (string, error) { return n.nodeAddress(name) })
		n.links.clients[name] = c
	}
	return c, "https://" + string(name), nil
}

// closeLinks ends idle connections to other nodes.
func (n *node) closeLinks() {
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	for name, c := range n.links.clients {
		c.CloseIdleConnections()
		delete(n.links.clients, name)
	}
}

// peering returns what the records need of the network, nil when there is none.
func (n *node) peering() *cluster.Peering {
	stored, _ := n.clusterInfo()
	return peeringOf(n.cfg, stored)
}

func peeringOf(cfg Config, stored identity.Cluster) *cluster.Peering {
	if stored.ID == "" {
		return nil
	}
	p := &cluster.Peering{
		Address:  stored.Address,
		CertFile: filepath.Join(cfg.DataDir, identity.Dir, identity.CertFile),
		KeyFile:  filepath.Join(cfg.DataDir, identity.Dir, identity.KeyFile),
		CAFile:   filepath.Join(cfg.DataDir, identity.Dir, identity.CAFile),
		Joined:   stored.Joined,
	}
	for _, other := range stored.Peers {
		if other.Node != stored.Node {
			p.Seeds = append(p.Seeds, other.Address)
		}
	}
	return p
}

// settleCluster returns what is stored of the node's cluster, with what its options say now of
// where it is reached. Its ID is empty when the node is on its own.
func settleCluster(cfg Config, disk vfs.FS) (identity.Cluster, error) {
	folder, err := identity.Load(disk, identity.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return identity.Cluster{}, nil
	}
	if err != nil {
		return identity.Cluster{}, err
	}
	stored := folder.Cluster
	if stored.Node != cfg.Node {
		return stored, fmt.Errorf("the identity in %s is that of node %s, and this is node %s; put the right one back: %w", filepath.Join(cfg.DataDir, identity.Dir), stored.Node, cfg.Node, ballast.ErrInvalid)
	}
	listen, address, err := cfg.settleAddress("", stored.Address)
	if err != nil || listen == stored.Listen && address == stored.Address {
		return stored, err
	}
	stored.Listen, stored.Address = listen, address
	return stored, identity.SaveCluster(disk, identity.Dir, stored)
}

// storeCluster keeps what changed of the cluster, on disk and then here.
func (n *node) storeCluster(change func(*identity.Cluster)) error {
	n.links.mu.Lock()
	next := n.links.stored
	n.links.mu.Unlock()
	change(&next)
	if err := identity.SaveCluster(n.disk, identity.Dir, next); err != nil {
		return err
	}
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	moved := next.Listen != n.links.stored.Listen
	n.links.stored = next
	if moved {
		close(n.links.changed)
		n.links.changed = make(chan struct{})
	}
	return nil
}

// hostOf returns the host of host:port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
