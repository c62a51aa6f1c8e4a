package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ballast-io/ballast/internal/vfs"
)

// Credentials prove who this node is, and tell who others are. A certificate that
// was renewed in the folder is used from the next connection on.
type Credentials struct {
	fsys vfs.FS // constant after Open, as is dir
	dir  string
	self Node              // constant after Open
	ca   *x509.Certificate // constant after Open
	key  Key               // constant after Open

	mu     sync.Mutex // guards everything below
	stored []byte     // the certificate's file
	own    *tls.Certificate
}

// Open reads the folder dir. The error is [io/fs.ErrNotExist] where there is none.
func Open(fsys vfs.FS, dir string) (*Credentials, error) {
	f, err := Load(fsys, dir)
	if err != nil {
		return nil, err
	}
	c, err := newCredentials(f)
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	c.fsys, c.dir = fsys, dir
	return c, nil
}

func newCredentials(f Folder) (*Credentials, error) {
	ca, err := parseCert(f.CA)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CAFile, err)
	}
	c := &Credentials{ca: ca, key: f.Key, self: Node{f.Cluster.ID, f.Cluster.Node, f.Cluster.Generation}, stored: f.Certificate}
	if c.own, err = c.pair(f.Certificate); err != nil {
		return nil, fmt.Errorf("%s: %w", CertFile, err)
	}
	return c, nil
}

// pair makes of a certificate's file what TLS sends: the authority's certificate goes
// with it, so that who has only its digest can verify it.
func (c *Credentials) pair(stored []byte) (*tls.Certificate, error) {
	leaf, err := parseCert(stored)
	if err != nil {
		return nil, err
	}
	if !c.key.private.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the certificate is not for the node's key")
	}
	node, err := nodeOf(leaf)
	if err != nil {
		return nil, err
	}
	if node != c.self {
		return nil, fmt.Errorf("the certificate is for node %s, generation %d, and this is node %s, generation %d", node.Name, node.Generation, c.self.Name, c.self.Generation)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, c.ca.Raw}, PrivateKey: c.key.private, Leaf: leaf}, nil
}

// Self returns who this node is.
func (c *Credentials) Self() Node { return c.self }

// Key returns the node's key, for a request to renew its certificate.
func (c *Credentials) Key() Key { return c.key }

// Digest returns the digest of the cluster's authority.
func (c *Credentials) Digest() Digest { return sha256.Sum256(c.ca.Raw) }

// Certificate returns the present certificate, as TLS sends it. One in the folder
// that cannot be used is not: the last good one goes on.
func (c *Credentials) Certificate() *tls.Certificate {
	// Read at each handshake: a few kilobytes from the page cache, and no word is
	// needed between who renews and the engines.
	stored, err := vfs.ReadFile(c.fsys, c.dir+"/"+CertFile, maxFile)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || bytes.Equal(stored, c.stored) {
		return c.own
	}
	if renewed, err := c.pair(stored); err == nil {
		c.own, c.stored = renewed, stored
	}
	return c.own
}

// Validity returns from when and until when the present certificate is good.
func (c *Credentials) Validity() (from, until time.Time) {
	leaf := c.Certificate().Leaf
	return leaf.NotBefore, leaf.NotAfter
}

// RenewAt returns when the certificate is to be renewed: half of its life is over.
func (c *Credentials) RenewAt() time.Time {
	from, until := c.Validity()
	return from.Add(until.Sub(from) / 2)
}

// Verify returns whom a chain of certificates is for: a node of this cluster (I1).
func (c *Credentials) Verify(chain []*x509.Certificate) (Node, error) {
	node, err := verifyChain(chain, c.ca)
	if err != nil {
		return Node{}, err
	}
	if node.Cluster != c.self.Cluster {
		return Node{}, fmt.Errorf("the certificate is of cluster %s, and this node is of %s", node.Cluster, c.self.Cluster)
	}
	return node, nil
}

// VerifyDigest returns whom a chain is for that who has only the digest of an authority
// was shown: the chain must end in that authority's certificate. It returns that, too.
func VerifyDigest(chain []*x509.Certificate, want Digest) (Node, []byte, error) {
	for _, cert := range chain {
		if sha256.Sum256(cert.Raw) == want {
			node, err := verifyChain(chain, cert)
			return node, encodeCert(cert.Raw), err
		}
	}
	return Node{}, nil, ErrWrongAuthority
}

// ErrWrongAuthority says that who answered is not of the cluster that a token is for.
var ErrWrongAuthority = errors.New("it is not a node of the cluster that the token is for")

// verifyChain asks that ca signed the first of chain, itself, and that it is good now.
func verifyChain(chain []*x509.Certificate, ca *x509.Certificate) (Node, error) {
	if len(chain) == 0 {
		return Node{}, errors.New("there is no certificate")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	// Whether as client or server makes no difference: every node is both.
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return Node{}, err
	}
	return nodeOf(chain[0])
}

// parseCert reads one certificate from PEM.
func parseCert(data []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not one certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}
