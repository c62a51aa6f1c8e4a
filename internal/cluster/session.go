package cluster

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
)

// The limits of what a node may live by. A session that says otherwise is taken for
// one that is never over.
const (
	DefaultLease = 5 * time.Second
	MinLease     = time.Second
	MaxLease     = 5 * time.Minute
)

// maxSession is the size in bytes that a stored session never reaches.
const maxSession = 4 << 10

// storedSession is the value of a session's key.
type storedSession struct {
	Number uint64 `json:"number"`         // 1 and up; another one follows when it ran out
	Beat   uint64 `json:"beat"`           // raised at every renewal, so that the value differs
	Lease  int64  `json:"lease_ms"`       // how long it stands without being renewed
	Free   int64  `json:"free"`           // bytes that the node has room for
	Size   int64  `json:"size,omitempty"` // bytes of the disk that it keeps volumes on; 0: not said

	Archive string `json:"archive,omitempty"` // which archive the node has, by its id; empty: not said
}

func decodeSession(data []byte) (storedSession, error) {
	if len(data) > maxSession {
		return storedSession{}, fmt.Errorf("decode session: %d bytes are more than a session has", len(data))
	}
	var s storedSession
	if err := json.Unmarshal(data, &s); err != nil {
		return storedSession{}, fmt.Errorf("decode session: %w", err)
	}
	if lease := time.Duration(s.Lease) * time.Millisecond; s.Number == 0 || s.Lease > MaxLease.Milliseconds() || lease < MinLease {
		return storedSession{}, fmt.Errorf("decode session: number %d with a lease of %d ms cannot be", s.Number, s.Lease)
	}
	return s, nil
}

// Session is what this node has seen of a node's session.
type Session struct {
	Node    ballast.NodeID
	Number  uint64        // 0: it has none
	Lease   time.Duration // how long it stands without being renewed
	Free    int64         // bytes that the node has room for
	Size    int64         // bytes of the disk that it keeps volumes on; 0: not known
	Archive string        // which archive it has, as [SessionConfig] said; empty: not known
	Quiet   time.Duration // since this node saw it change, or saw that there is none
	Over    bool          // it has been quiet for a lease: what the node holds may be claimed
}

// Left returns how long it will be until the session is over unless it is renewed.
func (s Session) Left() time.Duration { return max(0, s.Lease-s.Quiet) }

// sighting is a session's key as this node saw it.
type sighting struct {
	rev   int64 // 0: there is none
	asOf  int64 // the revision that this was seen at
	saw   storedSession
	lease time.Duration // 0: not known, it is never over
	at    time.Time     // when this node saw it so first; only its monotonic part counts
}

// sessions are the sessions as this node sees them. When one is over is decided by how
// long it stands still before the eyes of this node (C8), so no clocks are compared.
type sessions struct {
	own time.Duration // the lease of who never had a session

	mu    sync.Mutex // guards everything below
	seen  map[ballast.NodeID]sighting
	since time.Time // when this node first saw all that there are; zero: not yet
}

func newSessions(lease time.Duration) *sessions {
	return &sessions{own: lease, seen: map[ballast.NodeID]sighting{}}
}

// take takes in a key as of a revision, which may be seen more than once; nil: there
// is none any more. It reports whether the node has begun, ended or lost a session.
func (v *sessions) take(node ballast.NodeID, value []byte, rev int64, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.takeLocked(node, value, rev, now)
}

func (v *sessions) takeLocked(node ballast.NodeID, value []byte, rev int64, now time.Time) bool {
	before, known := v.seen[node]
	if known && before.asOf >= rev {
		return false
	}
	next := sighting{rev: rev, asOf: rev, at: now}
	if value == nil {
		// It is quiet from now on, for as long as it last said that it would stand.
		next.rev, next.lease = 0, before.lease
		if !known {
			next.lease = v.own
		}
		v.seen[node] = next
		return known && before.rev != 0
	}
	if saw, err := decodeSession(value); err == nil {
		next.saw, next.lease = saw, time.Duration(saw.Lease)*time.Millisecond
	}
	v.seen[node] = next
	return before.saw.Number != next.saw.Number || v.judgeLocked(node, before, now).Over
}

// replace takes in all that there are as of a revision.
func (v *sessions) replace(all map[ballast.NodeID]item, rev int64, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for node, it := range all {
		v.takeLocked(node, it.value, it.rev, now)
	}
	for node, s := range v.seen {
		if _, there := all[node]; !there && s.rev != 0 && s.rev <= rev {
			v.seen[node] = sighting{asOf: rev, lease: s.lease, at: now}
		}
	}
	if v.since.IsZero() {
		v.since = now
	}
}

// judge returns what is to be thought of a node's session, and the revision of its
// key that this rests on.
func (v *sessions) judge(node ballast.NodeID, now time.Time) (Session, int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, known := v.seen[node]
	if !known {
		s = sighting{lease: v.own, at: v.since}
		if v.since.IsZero() {
			s.lease = 0
		}
	}
	return v.judgeLocked(node, s, now), s.rev
}

func (v *sessions) judgeLocked(node ballast.NodeID, s sighting, now time.Time) Session {
	out := Session{Node: node, Number: s.saw.Number, Lease: s.lease, Free: s.saw.Free, Size: s.saw.Size, Archive: s.saw.Archive, Quiet: now.Sub(s.at)}
	if s.lease == 0 {
		out.Lease = v.own
	}
	out.Over = s.lease > 0 && out.Quiet >= s.lease
	return out
}
