package cluster

import (
	"cmp"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/ballast-io/ballast"
)

// Member is a node that holds etcd, or is to.
type Member struct {
	ID      uint64         `json:"id"`
	Node    ballast.NodeID `json:"node"`
	URL     string         `json:"url"`               // https://host:port of its node's one port
	Learner bool           `json:"learner,omitempty"` // it has no vote yet
	Started bool           `json:"started,omitempty"` // it has been there at least once
}

// Members returns who holds etcd, as this node last knew. With an etcd that is not
// ours there are none.
func (r *Records) Members() []Member { return r.view.allMembers() }

// membersFrom brings what etcd says of its members in our words.
func membersFrom(all []*etcdserverpb.Member) []Member {
	members := make([]Member, 0, len(all))
	for _, m := range all {
		members = append(members, newMember(m.ID, m.Name, m.PeerURLs, m.IsLearner))
	}
	sortMembers(members)
	return members
}

func newMember(id uint64, name string, urls []string, learner bool) Member {
	m := Member{ID: id, Node: ballast.NodeID(name), Learner: learner, Started: name != ""}
	if len(urls) > 0 {
		m.URL = urls[0]
	}
	return m
}

func sortMembers(members []Member) {
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
}
