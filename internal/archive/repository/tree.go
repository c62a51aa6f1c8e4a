package repository

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

// NodeType is what an entry of a folder is.
type NodeType string

// The types of nodes.
const (
	NodeFile      NodeType = "file"
	NodeDir       NodeType = "dir"
	NodeSymlink   NodeType = "symlink"
	NodeDev       NodeType = "dev"
	NodeCharDev   NodeType = "chardev"
	NodeFIFO      NodeType = "fifo"
	NodeSocket    NodeType = "socket"
	NodeIrregular NodeType = "irregular"
)

// Node is an entry of a folder. Its fields stand in the order in which they are
// written: equal folders must be equal bytes.
type Node struct {
	Name          string                     `json:"name"` // as it is; quoted only where it is stored
	Type          NodeType                   `json:"type"`
	Mode          fs.FileMode                `json:"mode,omitempty"`
	ModTime       time.Time                  `json:"mtime"`
	AccessTime    time.Time                  `json:"atime"`
	ChangeTime    time.Time                  `json:"ctime"`
	UID           uint32                     `json:"uid"`
	GID           uint32                     `json:"gid"`
	User          string                     `json:"user,omitempty"`
	Group         string                     `json:"group,omitempty"`
	Inode         uint64                     `json:"inode,omitempty"`
	DeviceID      uint64                     `json:"device_id,omitempty"` // of hard links
	Size          uint64                     `json:"size,omitempty"`      // bytes
	Links         uint64                     `json:"links,omitempty"`
	LinkTarget    string                     `json:"linktarget,omitempty"`
	LinkTargetRaw []byte                     `json:"linktarget_raw,omitempty"`
	Extended      []Attribute                `json:"extended_attributes,omitempty"`
	Generic       map[string]json.RawMessage `json:"generic_attributes,omitempty"`
	Device        uint64                     `json:"device,omitempty"`
	Content       []ID                       `json:"content"` // of a file: its blobs in order, never nil
	Subtree       *ID                        `json:"subtree,omitempty"`
	Error         string                     `json:"error,omitempty"`
}

// Attribute is an extended attribute of a file.
type Attribute struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// Tree is a folder: what a blob of type [TreeBlob] holds.
type Tree struct {
	Nodes []Node `json:"nodes"` // ascending by name
}

// EncodeTree returns the bytes of a folder; equal folders have equal bytes.
// A folder that is not in order, or a node that is not whole, is a [ballast.ErrInvalid].
func EncodeTree(t Tree) ([]byte, error) {
	stored := Tree{Nodes: make([]Node, len(t.Nodes))}
	copy(stored.Nodes, t.Nodes)
	if err := checkNodes(t.Nodes); err != nil {
		return nil, fmt.Errorf("encode tree: %w", err)
	}
	for i := range stored.Nodes {
		stored.Nodes[i].Name = quote(stored.Nodes[i].Name)
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encode tree: %w", err)
	}
	return append(data, '\n'), nil
}

// DecodeTree reads a folder and checks everything about it that can be checked
// without its blobs. What it refuses is a [ballast.ErrInvalid].
func DecodeTree(data []byte) (Tree, error) {
	var t Tree
	if err := decodeJSON(data, &t); err != nil {
		return Tree{}, fmt.Errorf("decode tree: %w", err)
	}
	for i := range t.Nodes {
		name, err := strconv.Unquote(`"` + t.Nodes[i].Name + `"`)
		if err != nil {
			return Tree{}, fmt.Errorf("decode tree: %w: node %d: name %.80q is not quoted as it should be", ballast.ErrInvalid, i, t.Nodes[i].Name)
		}
		t.Nodes[i].Name = name
	}
	if err := checkNodes(t.Nodes); err != nil {
		return Tree{}, fmt.Errorf("decode tree: %w", err)
	}
	return t, nil
}

// quote writes a name of any bytes as text.
func quote(name string) string {
	q := strconv.Quote(name)
	return q[1 : len(q)-1]
}

// checkNodes checks the nodes of a folder and their order.
func checkNodes(nodes []Node) error {
	for i := range nodes {
		if err := nodes[i].check(); err != nil {
			return err
		}
		if i > 0 && nodes[i-1].Name >= nodes[i].Name {
			return fmt.Errorf("%w: %.80q stands before %.80q; names must ascend", ballast.ErrInvalid, nodes[i-1].Name, nodes[i].Name)
		}
	}
	return nil
}

func (n *Node) check() error {
	wrong := func(what string) error { return fmt.Errorf("%w: node %.80q: %s", ballast.ErrInvalid, n.Name, what) }
	switch {
	case n.Name == "" || n.Name == "." || n.Name == ".." || strings.ContainsAny(n.Name, "/\x00"):
		return wrong("this is no name of a file")
	case n.Type == NodeFile && n.Content == nil:
		return wrong("it is a file without a list of blobs")
	case n.Type == NodeDir && (n.Subtree == nil || n.Subtree.IsZero()):
		return wrong("it is a folder without a tree")
	case n.Type != NodeFile && len(n.Content) > 0, n.Type != NodeDir && n.Subtree != nil:
		return wrong("it has content of another type of node")
	}
	for _, id := range n.Content {
		if id.IsZero() {
			return wrong("a blob of it has no id")
		}
	}
	return n.checkType()
}

func (n *Node) checkType() error {
	switch n.Type {
	case NodeFile, NodeDir, NodeSymlink, NodeDev, NodeCharDev, NodeFIFO, NodeSocket, NodeIrregular:
		return nil
	}
	return fmt.Errorf("%w: node %.80q: there is no type %.20q", ballast.ErrInvalid, n.Name, string(n.Type))
}

// decodeJSON reads exactly one JSON value. Unknown fields are a later version's.
func decodeJSON(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ballast.ErrInvalid, err)
	}
	if len(bytes.TrimSpace(data[dec.InputOffset():])) > 0 {
		return fmt.Errorf("%w: more follows the JSON value", ballast.ErrInvalid)
	}
	return nil
}
