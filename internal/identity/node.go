package identity

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/ballast-io/ballast"
)

// Node is what a certificate says: a node of a cluster, under the generation that
// its latest join gave it.
type Node struct {
	Cluster    string
	Name       ballast.NodeID
	Generation uint64 // from 1
}

// String returns the node's name.
func (n Node) String() string { return string(n.Name) }

const scheme = "ballast"

// uri returns n as a certificate carries it.
func (n Node) uri() *url.URL {
	return &url.URL{
		Scheme:   scheme,
		Host:     n.Cluster,
		Path:     "/node/" + string(n.Name),
		RawQuery: "generation=" + strconv.FormatUint(n.Generation, 10),
	}
}

// check refuses what no authority signs.
func (n Node) check() error {
	if !isClusterID(n.Cluster) {
		return fmt.Errorf("%.64q is no cluster id", n.Cluster)
	}
	if err := ballast.CheckVolumeName(string(n.Name)); err != nil {
		return fmt.Errorf("node name %.64q: a name has letters, digits, '_', '.' and '-'", n.Name)
	}
	if n.Generation == 0 {
		return fmt.Errorf("node %s has no generation", n.Name)
	}
	return nil
}

// parseURI reads what [Node.uri] wrote, and nothing else (I1).
func parseURI(u *url.URL) (Node, error) {
	name, ok := strings.CutPrefix(u.Path, "/node/")
	number, hasNumber := strings.CutPrefix(u.RawQuery, "generation=")
	if !ok || !hasNumber || u.Scheme != scheme {
		return Node{}, fmt.Errorf("%.128q names no node", u)
	}
	generation, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return Node{}, fmt.Errorf("%.128q names no node", u)
	}
	n := Node{Cluster: u.Host, Name: ballast.NodeID(name), Generation: generation}
	if err := n.check(); err != nil {
		return Node{}, err
	}
	if n.uri().String() != u.String() { // one spelling, or two might be compared
		return Node{}, fmt.Errorf("%.128q names no node", u)
	}
	return n, nil
}

// nodeOf returns whom a certificate is for. That it was signed by the right
// authority is the caller's to see.
func nodeOf(cert *x509.Certificate) (Node, error) {
	if len(cert.URIs) != 1 {
		return Node{}, fmt.Errorf("the certificate names %d nodes", len(cert.URIs))
	}
	return parseURI(cert.URIs[0])
}
