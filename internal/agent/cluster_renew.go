package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
)

const (
	condCertificate = "certificate-ending"
	// A certificate that ends so soon is one that could not be renewed for weeks.
	certificateWarning = 14 * 24 * time.Hour
)

// keepCertificate renews the node's certificate when half of its life is over, or when the
// node is reached elsewhere than it says.
func (n *node) keepCertificate(ctx context.Context) {
	net := n.network()
	self, known := n.records.Node(n.cfg.Node)
	if net == nil || !known || self.Generation != net.own.Self().Generation {
		return
	}
	_, until := net.own.Validity()
	if !n.renewalDue(time.Now(), self) {
		n.health.clear("", condCertificate)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recordBudget)
	defer cancel()
	err := n.renewFor(ctx, self)
	if err == nil {
		n.health.clear("", condCertificate)
		n.log.Info("renewed this node's certificate")
		return
	}
	n.quiet.Warn("renew", "this node's certificate could not be renewed; trying again", "until", until, "error", err)
	if time.Until(until) < certificateWarning {
		n.health.raise("", condCertificate, fmt.Sprintf("The certificate of this node ends on %s and cannot be renewed: %v. After that no other node believes it.", until.Format(time.DateOnly), err),
			"see why the records cannot be read; the certificate is renewed by itself then")
	}
}

// renewalDue reports whether the certificate is old, or for another address.
func (n *node) renewalDue(now time.Time, self cluster.Node) bool {
	own := n.network().own
	if !now.Before(own.RenewAt()) {
		return true
	}
	leaf, host := own.Certificate().Leaf, hostOf(self.Address)
	if ip := net.ParseIP(host); ip != nil {
		return !slices.ContainsFunc(leaf.IPAddresses, ip.Equal)
	}
	return !slices.Contains(leaf.DNSNames, host)
}

// renewFor makes a certificate for the key that the node has.
func (n *node) renewFor(ctx context.Context, self cluster.Node) error {
	authority, err := n.authority(ctx)
	if err != nil {
		return err
	}
	own := n.network().own
	if authority.Digest() != own.Digest() {
		return errors.New("the records are of another cluster than this node's certificate")
	}
	self.Generation = own.Self().Generation
	cert, err := sign(authority, own.Key(), self)
	if err != nil {
		return err
	}
	return identity.SaveCertificate(n.disk, identity.Dir, cert)
}

// keepSelf has the records say of this node what is so, and keeps on disk what must be known
// of other nodes before the records can be read.
func (n *node) keepSelf(ctx context.Context) {
	net := n.network()
	self, known := n.records.Node(n.cfg.Node)
	if net == nil || !known || self.Generation != net.own.Self().Generation {
		return
	}
	stored, _ := n.clusterInfo()
	if ready, _ := n.records.Ready(); ready && (self.Version != n.cfg.Version || self.Address != stored.Address) {
		self.Version, self.Address = n.cfg.Version, stored.Address
		ctx, cancel := context.WithTimeout(ctx, recordBudget)
		defer cancel()
		if _, err := n.records.PutNode(ctx, self); err != nil {
			n.quiet.Warn("self", "what the records say of this node could not be brought up to date", "error", err)
		}
	}
	n.keepPeers(stored)
}

func (n *node) keepPeers(stored identity.Cluster) {
	var peers []identity.Address
	for _, other := range n.records.Nodes() {
		peers = append(peers, identity.Address{Node: other.Name, Address: other.Address, Generation: other.Generation})
	}
	if len(peers) == 0 || slices.Equal(peers, stored.Peers) {
		return
	}
	if err := n.storeCluster(func(c *identity.Cluster) { c.Peers = peers }); err != nil {
		n.quiet.Warn("peers", "the addresses of other nodes could not be stored", "error", err)
	}
}
