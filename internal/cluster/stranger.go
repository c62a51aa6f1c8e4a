package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ballast-io/ballast"
)

// strangerKeys is an etcd that is not ours. There nobody but this node itself keeps one that is
// not in the cluster from changing what the cluster has (C13).
type strangerKeys struct {
	etcdKeys

	records *Records
}

// swap is that of etcdKeys for a node of the cluster; another one may begin a cluster
// where there is none, and change nothing else. That the node is still of the cluster is a condition
// of the transaction: what it last heard may be old.
func (s strangerKeys) swap(ctx context.Context, conditions, changes []item) (bool, int64, error) {
	if begins(conditions) {
		return s.etcdKeys.swap(ctx, conditions, changes)
	}
	if err := s.admitted(); err != nil {
		return false, 0, err
	}
	return s.swapIf(ctx, []clientv3.Cmp{s.stillIn()}, conditions, changes)
}

// lend is that of etcdKeys, for a node of the cluster.
func (s strangerKeys) lend(ctx context.Context, it item, ttl time.Duration) (bool, error) {
	if err := s.admitted(); err != nil {
		return false, err
	}
	return s.etcdKeys.lend(ctx, it, ttl)
}

func (s strangerKeys) stillIn() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(nodeKey(s.records.cfg.Node)), ">", 0)
}

// begins reports whether what is to be changed begins a cluster: nobody has, then.
func begins(conditions []item) bool {
	return slices.ContainsFunc(conditions, func(c item) bool { return c.key == authorityKey && c.rev == 0 })
}

// admitted returns an [ballast.ErrNotReady] unless this node has an identity, and is in the
// cluster as far as it knows.
func (s strangerKeys) admitted() error {
	r := s.records
	if r.currentPeering() == nil {
		return fmt.Errorf("this node has not joined the cluster whose records are in the etcd that it was given, and changes nothing there; "+
			"type `ballast token create` on a node of the cluster, and here what it prints: %w", ballast.ErrNotReady)
	}
	if _, in := r.Node(r.cfg.Node); !in {
		return fmt.Errorf("this node is not in the cluster (any more), and changes nothing of it; "+
			"to have it again type `ballast token create` on a node of the cluster, and here what it prints: %w", ballast.ErrNotReady)
	}
	return nil
}
