package cluster

import "github.com/ballast-io/ballast"

// Member is a node that holds etcd, or is to.
type Member struct {
	ID      uint64         `json:"id"`
	Node    ballast.NodeID `json:"node"`
	URL     string         `json:"url"`               // https://host:port of its node's one port
	Learner bool           `json:"learner,omitempty"` // it has no vote yet
}

// Members returns who holds etcd, as this node last knew.
func (r *Records) Members() []Member { return r.view.allMembers() }
