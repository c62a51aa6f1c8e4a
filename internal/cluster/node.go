package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"time"

	"github.com/ballast-io/ballast"
)

// maxNode is the size in bytes that what is kept of a node never reaches.
const maxNode = 64 << 10

// Node is what the cluster knows of a node. It is a value.
type Node struct {
	Name       ballast.NodeID `json:"name"`
	Address    string         `json:"address"`            // host:port of its one port
	Generation uint64         `json:"generation"`         // of the certificate it must have; raised when the name is given anew
	Draining   bool           `json:"draining,omitempty"` // gets no copies, and gives up those it has
	Version    string         `json:"version,omitempty"`  // of its agent
	JoinedAt   time.Time      `json:"joined_at,omitzero"`

	Revision int64 `json:"-"` // of etcd that this is as of

	later map[string]json.RawMessage // fields of a later release (C7)
}

type plainNode Node

var knownNodeFields = []string{"name", "address", "generation", "draining", "version", "joined_at"}

func encodeNode(n Node) ([]byte, error) {
	data, err := json.Marshal(plainNode(n))
	if err != nil || len(n.later) == 0 {
		return data, err
	}
	fields := maps.Clone(n.later)
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

func decodeNode(data []byte) (Node, error) {
	if len(data) > maxNode {
		return Node{}, fmt.Errorf("decode node: %d bytes are more than a node has", len(data))
	}
	var stored plainNode
	if err := json.Unmarshal(data, &stored); err != nil {
		return Node{}, fmt.Errorf("decode node: %w", err)
	}
	n := Node(stored)
	if err := n.check(); err != nil {
		return Node{}, fmt.Errorf("decode node: %w", err)
	}
	var err error
	n.later, err = laterFields(data, knownNodeFields)
	return n, err
}

func (n Node) check() error {
	if err := CheckNodeName(n.Name); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(n.Address); err != nil && n.Address != "" {
		return fmt.Errorf("node %s: address %q is no host:port: %w", n.Name, n.Address, errors.Join(err, ballast.ErrInvalid))
	}
	return nil
}

// CheckNodeName returns an [ballast.ErrInvalid] when name cannot be a node's: it stands
// in certificates, in keys of etcd, and in tables that people read.
func CheckNodeName(name ballast.NodeID) error {
	if err := ballast.CheckVolumeName(string(name)); err != nil {
		return fmt.Errorf("node name %.64q: a name has letters, digits, '_', '.' and '-', and begins with a letter or digit: %w", name, ballast.ErrInvalid)
	}
	return nil
}
