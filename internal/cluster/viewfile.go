package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/ballast-io/ballast/internal/vfs"
)

// viewFile is where the view outlives the agent. It is a copy: losing it costs
// the answers of the moment until etcd is up, and nothing else.
const viewFile = "view.json"

const (
	viewVersion = 1
	maxViewFile = 256 << 20
)

// storedView is the file.
type storedView struct {
	Version int               `json:"version"`
	Records []json.RawMessage `json:"records"`
	Nodes   []json.RawMessage `json:"nodes,omitempty"`
	Members []Member          `json:"members,omitempty"`
}

// encode returns the view as it is stored, sorted by id.
func (v *view) encode() ([]byte, error) {
	v.mu.RLock()
	ids := slices.Sorted(maps.Keys(v.records))
	records := make([]Record, len(ids))
	for i, id := range ids {
		records[i] = v.records[id].Record
	}
	stored := storedView{Version: viewVersion, Records: []json.RawMessage{}, Members: v.members}
	v.mu.RUnlock()
	for _, r := range records {
		data, err := encodeRecord(r)
		if err != nil {
			return nil, fmt.Errorf("encode record of volume %q: %w", r.Name, err)
		}
		stored.Records = append(stored.Records, data)
	}
	for _, n := range v.allNodes() {
		data, err := encodeNode(n)
		if err != nil {
			return nil, fmt.Errorf("encode node %s: %w", n.Name, err)
		}
		stored.Nodes = append(stored.Nodes, data)
	}
	return json.Marshal(stored)
}

// decodedView is what a stored view says.
type decodedView struct {
	records []versioned
	nodes   []Node
	members []Member
}

func decodeView(data []byte) (decodedView, error) {
	var stored storedView
	if err := json.Unmarshal(data, &stored); err != nil {
		return decodedView{}, fmt.Errorf("decode view: %w", err)
	}
	if stored.Version != viewVersion {
		return decodedView{}, fmt.Errorf("decode view: it has format %d, this release reads %d", stored.Version, viewVersion)
	}
	all := decodedView{members: stored.Members}
	for _, raw := range stored.Records {
		r, err := decodeRecord(raw)
		if err != nil {
			return decodedView{}, fmt.Errorf("decode view: %w", err)
		}
		all.records = append(all.records, versioned{Record: r})
	}
	for _, raw := range stored.Nodes {
		n, err := decodeNode(raw)
		if err != nil {
			return decodedView{}, fmt.Errorf("decode view: %w", err)
		}
		all.nodes = append(all.nodes, n)
	}
	return all, nil
}

// load takes in what the last agent knew. Nothing of it is certain: it may be
// a little old, so complete stays false.
func (v *view) load(fsys vfs.FS) error {
	data, err := vfs.ReadFile(fsys, viewFile, maxViewFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := decodeView(data)
	if err != nil {
		return err
	}
	v.replace(all.records, 0, false)
	v.replaceNodes(all.nodes, 0)
	v.setMembers(all.members)
	return nil
}

// save writes the view once.
func (v *view) save(fsys vfs.FS) error {
	data, err := v.encode()
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, viewFile, data)
}
