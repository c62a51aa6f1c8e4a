package cluster

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

// syncAll reads all there is. What cannot be read, as a later release may write it,
// leaves the whole incomplete: its volume must not be declared unknown (C4).
func (r *Records) syncAll(ctx context.Context, keys keyspace) (int64, error) {
	items, rev, err := keys.list(ctx, root)
	if err != nil {
		return 0, err
	}
	var all []versioned
	var nodes []Node
	var members []Member
	complete, beats := true, map[ballast.NodeID]item{}
	for _, it := range items {
		switch name, kind := kindOf(it.key); kind {
		case volumesPrefix:
			rec, err := decodeRecord(it.value)
			if err != nil {
				r.cfg.Log.Warn("a volume record is unreadable; no volume is taken for unknown as long as it is", "key", it.key, "error", err)
				complete = false
				continue
			}
			all = append(all, versioned{rec, it.rev})
		case nodesPrefix:
			if n, ok := r.readNode(it); ok {
				nodes = append(nodes, n)
			}
		case sessionsPrefix:
			beats[ballast.NodeID(name)] = it
		case membersKey:
			members = r.readMembers(it.value)
		}
	}
	r.view.replace(all, rev, complete)
	r.view.replaceNodes(nodes, rev)
	r.view.setMembers(members)
	r.sessions.replace(beats, rev, time.Now())
	return rev, nil
}

// kindOf splits a key into what it is a key of, and which.
func kindOf(key string) (name, kind string) {
	for _, prefix := range []string{volumesPrefix, nodesPrefix, sessionsPrefix} {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			return name, prefix
		}
	}
	return "", key
}

// take takes in one change.
func (r *Records) take(changed item) {
	switch name, kind := kindOf(changed.key); kind {
	case volumesPrefix:
		r.takeVolume(ballast.VolumeID(name), changed)
	case nodesPrefix:
		r.takeNode(ballast.NodeID(name), changed)
	case sessionsPrefix:
		if r.sessions.take(ballast.NodeID(name), changed.value, changed.rev, time.Now()) {
			r.view.tell(change{nodes: true})
		}
	case membersKey:
		r.view.setMembers(r.readMembers(changed.value))
	}
}

func (r *Records) takeVolume(id ballast.VolumeID, changed item) {
	if changed.value == nil {
		r.view.purge(id)
		return
	}
	rec, err := decodeRecord(changed.value)
	if err != nil {
		r.cfg.Log.Warn("a changed volume record is unreadable; the volume is served as it was", "key", changed.key, "error", err)
		return
	}
	r.view.put(rec, changed.rev)
}

func (r *Records) takeNode(name ballast.NodeID, changed item) {
	if changed.value == nil {
		r.view.dropNode(name, changed.rev)
		return
	}
	if n, ok := r.readNode(changed); ok {
		r.view.putNode(n)
	}
}

func (r *Records) readNode(it item) (Node, bool) {
	n, err := decodeNode(it.value)
	if err != nil {
		r.cfg.Log.Warn("what is stored of a node is unreadable; it is taken for what it was", "key", it.key, "error", err)
		return Node{}, false
	}
	n.Revision = it.rev
	return n, true
}

func (r *Records) readMembers(data []byte) []Member {
	if len(data) == 0 || len(data) > maxNode {
		return nil
	}
	var members []Member
	if err := json.Unmarshal(data, &members); err != nil {
		r.cfg.Log.Warn("the list of who holds the records is unreadable", "error", err)
		return nil
	}
	return members
}
