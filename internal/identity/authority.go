package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/ballast-io/ballast"
)

// How long certificates are good for.
const (
	Lifetime          = 90 * 24 * time.Hour // of a node's; renewed when half of it is over
	authorityLifetime = 20 * 365 * 24 * time.Hour
	backdate          = time.Hour // clocks of a cluster differ a little
)

// Authority signs the certificates of one cluster. It does not print.
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// NewAuthority makes the authority of a new cluster.
func NewAuthority(cluster string) (*Authority, error) {
	if !isClusterID(cluster) {
		return nil, fmt.Errorf("make authority: %.64q is no cluster id: %w", cluster, ballast.ErrInvalid)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: "Ballast cluster " + cluster},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	return &Authority{cluster, cert, key}, nil
}

// storedAuthority is the authority as etcd has it.
type storedAuthority struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster"`
	Cert    []byte `json:"cert"` // DER
	Key     []byte `json:"key"`  // PKCS #8
}

const (
	authorityVersion = 1
	maxAuthority     = 16 << 10 // bytes
)

// Encode returns the authority, its key included, as the cluster stores it.
func (a *Authority) Encode() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("encode authority: %w", err)
	}
	return json.Marshal(storedAuthority{authorityVersion, a.cluster, a.cert.Raw, key})
}

// ParseAuthority reads what [Authority.Encode] wrote. Its errors show nothing of data.
func ParseAuthority(data []byte) (*Authority, error) {
	var stored storedAuthority
	if len(data) > maxAuthority || json.Unmarshal(data, &stored) != nil {
		return nil, fmt.Errorf("read the cluster's authority: it is damaged")
	}
	if stored.Version != authorityVersion {
		return nil, fmt.Errorf("read the cluster's authority: it has format %d, this release reads %d: upgrade this node", stored.Version, authorityVersion)
	}
	cert, err := x509.ParseCertificate(stored.Cert)
	if err != nil || !isClusterID(stored.Cluster) {
		return nil, fmt.Errorf("read the cluster's authority: its certificate is damaged")
	}
	key, err := x509.ParsePKCS8PrivateKey(stored.Key)
	ours, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok || !ours.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("read the cluster's authority: its key is damaged")
	}
	return &Authority{stored.Cluster, cert, ours}, nil
}

// String hides the key.
func (a *Authority) String() string { return "authority of cluster " + a.cluster }

// GoString hides the key.
func (a *Authority) GoString() string { return a.String() }

// Cluster returns the cluster's id.
func (a *Authority) Cluster() string { return a.cluster }

// Digest returns what tokens show of the authority.
func (a *Authority) Digest() Digest { return sha256.Sum256(a.cert.Raw) }

// Certificate returns the authority's certificate as PEM.
func (a *Authority) Certificate() []byte { return encodeCert(a.cert.Raw) }

// Sign returns the certificate, as PEM, of a node whose public key is in request, a
// signing request as [NewKey] makes it; nothing else of the request is used (I2).
// Hosts are the names and addresses, without ports, under which the node is reached.
func (a *Authority) Sign(request []byte, node ballast.NodeID, generation uint64, hosts []string, lifetime time.Duration) ([]byte, error) {
	public, err := publicKeyOf(request)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of node %.64q: %w: %w", node, err, ballast.ErrInvalid)
	}
	n := Node{a.cluster, node, generation}
	if err := n.check(); err != nil {
		return nil, fmt.Errorf("sign certificate: %w: %w", err, ballast.ErrInvalid)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: string(node)},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	template.URIs = append(template.URIs, n.uri())
	if err := addHosts(template, hosts); err != nil {
		return nil, fmt.Errorf("sign certificate of node %s: %w", node, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of node %s: %w", node, err)
	}
	return encodeCert(der), nil
}

const maxHosts = 16

// addHosts notes under which names standard TLS may find the node.
func addHosts(cert *x509.Certificate, hosts []string) error {
	if len(hosts) > maxHosts {
		return fmt.Errorf("%d addresses are more than the %d a node can have: %w", len(hosts), maxHosts, ballast.ErrInvalid)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
			continue
		}
		if !isHostName(h) {
			return fmt.Errorf("%.64q is neither an address nor a host name: %w", h, ballast.ErrInvalid)
		}
		cert.DNSNames = append(cert.DNSNames, h)
	}
	return nil
}

// isHostName admits no wildcard: a node is one machine.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, r := range s {
		ok := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.'
		if !ok {
			return false
		}
	}
	return true
}

func newSerial() *big.Int {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails, says its documentation
	raw[0] &= 0x7f           // a serial number is positive
	return new(big.Int).SetBytes(raw[:])
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
