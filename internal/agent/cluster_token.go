package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
)

// The limits of how long a token lets somebody join.
const (
	defaultTokenTTL = 15 * time.Minute
	minTokenTTL     = time.Minute
	maxTokenTTL     = 24 * time.Hour
)

// CreateToken returns a token that lets one machine join, and where to. A node on its own becomes
// the first one of a cluster by it, and listens from then on, at address or, when that is
// empty, where its options say.
func (n *node) CreateToken(ctx context.Context, ttl time.Duration, address string) (token identity.Token, at string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	if ttl == 0 {
		ttl = defaultTokenTTL
	}
	if ttl < minTokenTTL || ttl > maxTokenTTL {
		return token, "", fmt.Errorf("create token: it is good for %s to %s, not for %s: %w", minTokenTTL, maxTokenTTL, ttl, ballast.ErrInvalid)
	}
	moved, err := n.goPublic(ctx, address)
	if err != nil {
		return token, "", fmt.Errorf("create token: %w", err)
	}
	token = identity.NewToken(n.network().own.Digest())
	hash := token.Hash()
	err = n.records.PutToken(ctx, token.ID, hash[:], ttl)
	if moved {
		// Last: etcd is away for the moment in which it takes on its address.
		n.records.SetPeering(*n.peering())
	}
	if err != nil {
		return token, "", err
	}
	stored, _ := n.clusterInfo()
	n.log.Info("made a join token", "token", token.ID, "good_for", ttl)
	return token, stored.Address, nil
}

// goPublic gives the node an identity and an address, unless it has them. When it reports that
// the address is another one, the records are to be told of it.
func (n *node) goPublic(ctx context.Context, asked string) (moved bool, err error) {
	n.publishing.Lock()
	defer n.publishing.Unlock()
	stored, _ := n.clusterInfo()
	listen, address, err := n.cfg.settleAddress(asked, stored.Address)
	if err != nil {
		return false, err
	}
	if stored.ID != "" && address == stored.Address {
		return false, nil
	}
	if listen != stored.Listen {
		if err := tryListen(ctx, listen, stored.Listen); err != nil {
			return false, err
		}
	}
	if stored.ID != "" {
		return true, n.moveTo(ctx, listen, address)
	}
	found := n.foundCluster
	if len(n.cfg.Etcd) > 0 {
		found = n.foundInExternal
	}
	folder, err := found(ctx, listen, address)
	if err != nil {
		return false, err
	}
	if err := identity.Save(n.disk, identity.Dir, folder); err != nil {
		return false, err
	}
	if err := n.openNetwork(); err != nil {
		return false, err
	}
	if len(n.cfg.Etcd) > 0 {
		n.records.SetPeering(*n.peering()) // which lets this node change what is there
	}
	if err := removeFile(n.disk, foundingFile); err != nil { // the identity says it from now on
		n.log.Warn("a file that is of no use any more stays", "file", foundingFile, "error", err)
	}
	n.log.Info("this node is the first one of a cluster, and listens for others", "cluster", folder.Cluster.ID, "address", address)
	return true, nil
}

// tryListen finds out whether the node can listen somewhere, before anything rests on it. What
// it listens at now is free once it listens elsewhere.
func tryListen(ctx context.Context, address, now string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		return l.Close()
	}
	if overlap(address, now) {
		return nil
	}
	return fmt.Errorf("this node cannot listen at %s: %w: give another address with --listen: %w", address, err, ballast.ErrInvalid)
}

// overlap reports whether who listens at one address keeps others from listening at the
// other: one may be the port at any address.
func overlap(a, b string) bool {
	aHost, aPort, aErr := net.SplitHostPort(a)
	bHost, bPort, bErr := net.SplitHostPort(b)
	if aErr != nil || bErr != nil || aPort != bPort {
		return false
	}
	return aHost == bHost || isAny(aHost) || isAny(bHost)
}

func isAny(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// foundCluster makes what the first node of a cluster has. Where it was broken off before,
// it goes on.
func (n *node) foundCluster(ctx context.Context, listen, address string) (identity.Folder, error) {
	authority, err := n.authority(ctx)
	if errors.Is(err, ballast.ErrNotFound) {
		authority, err = n.makeAuthority(ctx)
	}
	if err != nil {
		return identity.Folder{}, err
	}
	self, err := n.records.PutNode(ctx, cluster.Node{Name: n.cfg.Node, Address: address, Version: n.cfg.Version, JoinedAt: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return identity.Folder{}, err
	}
	return folderOf(authority, self, listen, address)
}

// folderOf makes the identity of a node for whom the authority is at hand.
func folderOf(authority *identity.Authority, self cluster.Node, listen, address string) (identity.Folder, error) {
	key, err := identity.NewKey()
	if err != nil {
		return identity.Folder{}, err
	}
	cert, err := sign(authority, key, self)
	return identity.Folder{
		CA: authority.Certificate(), Certificate: cert, Key: key,
		Cluster: identity.Cluster{ID: authority.Cluster(), Node: self.Name, Generation: self.Generation, Listen: listen, Address: address},
	}, err
}

// authority returns the cluster's certificate authority. The error is [ballast.ErrNotFound]
// when there is none yet.
func (n *node) authority(ctx context.Context) (*identity.Authority, error) {
	stored, err := n.records.Authority(ctx)
	if err != nil {
		return nil, err
	}
	return identity.ParseAuthority(stored)
}

func (n *node) makeAuthority(ctx context.Context) (*identity.Authority, error) {
	made, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		return nil, err
	}
	data, err := made.Encode()
	if err != nil {
		return nil, err
	}
	stored, err := n.records.SetAuthority(ctx, data)
	if err != nil {
		return nil, err
	}
	return identity.ParseAuthority(stored)
}

// sign makes the certificate of a node that has the key.
func sign(authority *identity.Authority, key identity.Key, self cluster.Node) ([]byte, error) {
	request, err := key.Request()
	if err != nil {
		return nil, err
	}
	return authority.Sign(request, self.Name, self.Generation, []string{hostOf(self.Address)}, identity.Lifetime)
}

// moveTo changes where the node is reached. Others hear of it through the records.
func (n *node) moveTo(ctx context.Context, listen, address string) error {
	self, ok := n.records.Node(n.cfg.Node)
	if !ok {
		return fmt.Errorf("this node is not known to be in the cluster (any more): %w", ballast.ErrNotReady)
	}
	self.Address = address
	if err := n.renewFor(ctx, self); err != nil {
		return err
	}
	if _, err := n.records.PutNode(ctx, self); err != nil {
		return err
	}
	if err := n.storeCluster(func(c *identity.Cluster) { c.Listen, c.Address = listen, address }); err != nil {
		return err
	}
	n.log.Info("this node is reached elsewhere now", "address", address)
	return nil
}
