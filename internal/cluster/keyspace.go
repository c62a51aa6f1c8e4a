package cluster

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ballast-io/ballast"
)

// Where things are in etcd. All of it is watched.
const (
	root           = "/ballast/v1/"
	volumesPrefix  = root + "volumes/"   // + id → record
	namesPrefix    = root + "names/"     // + name → id, of the volumes outside of the trash
	nodesPrefix    = root + "nodes/"     // + name → node
	sessionsPrefix = root + "sessions/"  // + name of the node → session
	tokensPrefix   = root + "tokens/"    // + id → what its secret is checked against
	authorityKey   = root + "authority"  // the certificate authority
	generationKey  = root + "generation" // the last that a node was given
	membersKey     = root + "members"    // who holds etcd, so that the others find it
)

func volumeKey(id ballast.VolumeID) string  { return volumesPrefix + string(id) }
func nameKey(name string) string            { return namesPrefix + name }
func nodeKey(node ballast.NodeID) string    { return nodesPrefix + string(node) }
func sessionKey(node ballast.NodeID) string { return sessionsPrefix + string(node) }

// keyspace is what this package needs of etcd.
type keyspace interface {
	// list returns everything below prefix, and the revision it is as of.
	list(ctx context.Context, prefix string) ([]item, int64, error)
	// get returns one key; an item of revision 0 is not there.
	get(ctx context.Context, key string) (item, error)
	// swap carries out all changes, provided that every key in conditions still
	// has its revision (0: is not there). It reports whether it did, and the
	// revision of the changes. After an error they may have happened or not.
	swap(ctx context.Context, conditions []item, changes []item) (bool, int64, error)
	// lend puts a key that goes by itself when ttl is over, provided that it is not there.
	// It may go a little later, and later by as much again when etcd changes its leader.
	lend(ctx context.Context, it item, ttl time.Duration) (bool, error)
	// watch reports every change below prefix after a revision, in order, until
	// ctx ends or the watch breaks. It always returns an error.
	watch(ctx context.Context, prefix string, after int64, report func(item)) error
}

// item is a key as of a revision.
type item struct {
	key   string
	value []byte // nil: not there, or to be deleted
	rev   int64
}

// etcdKeys is the keyspace of a real etcd.
type etcdKeys struct{ client *clientv3.Client }

func (e etcdKeys) list(ctx context.Context, prefix string) ([]item, int64, error) {
	got, err := e.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	items := make([]item, len(got.Kvs))
	for i, kv := range got.Kvs {
		items[i] = item{string(kv.Key), kv.Value, kv.ModRevision}
	}
	return items, got.Header.Revision, nil
}

func (e etcdKeys) get(ctx context.Context, key string) (item, error) {
	got, err := e.client.Get(ctx, key)
	if err != nil {
		return item{}, fmt.Errorf("get %s: %w", key, err)
	}
	if len(got.Kvs) == 0 {
		return item{key: key}, nil
	}
	return item{key, got.Kvs[0].Value, got.Kvs[0].ModRevision}, nil
}

func (e etcdKeys) swap(ctx context.Context, conditions, changes []item) (bool, int64, error) {
	return e.swapIf(ctx, nil, conditions, changes)
}

// swapIf is swap with conditions of another kind besides.
func (e etcdKeys) swapIf(ctx context.Context, compares []clientv3.Cmp, conditions, changes []item) (bool, int64, error) {
	for _, c := range conditions {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(c.key), "=", c.rev))
	}
	var ops []clientv3.Op
	for _, c := range changes {
		if c.value == nil {
			ops = append(ops, clientv3.OpDelete(c.key))
		} else {
			ops = append(ops, clientv3.OpPut(c.key, string(c.value)))
		}
	}
	done, err := e.client.Txn(ctx).If(compares...).Then(ops...).Commit()
	if err != nil {
		return false, 0, fmt.Errorf("change records: %w: %w", err, ballast.ErrUnknown)
	}
	return done.Succeeded, done.Header.Revision, nil
}

func (e etcdKeys) lend(ctx context.Context, it item, ttl time.Duration) (bool, error) {
	lease, err := e.client.Grant(ctx, max(1, int64(ttl.Seconds())))
	if err != nil {
		return false, fmt.Errorf("change records: %w", err)
	}
	done, err := e.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(it.key), "=", 0)).
		Then(clientv3.OpPut(it.key, string(it.value), clientv3.WithLease(lease.ID))).Commit()
	if err != nil {
		return false, fmt.Errorf("change records: %w", err)
	}
	return done.Succeeded, nil
}

func (e etcdKeys) watch(ctx context.Context, prefix string, after int64, report func(item)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for got := range e.client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1)) {
		if err := got.Err(); err != nil {
			return fmt.Errorf("watch %s: %w", prefix, err)
		}
		for _, event := range got.Events {
			changed := item{string(event.Kv.Key), event.Kv.Value, event.Kv.ModRevision}
			if event.Type == clientv3.EventTypeDelete {
				changed.value = nil
			}
			report(changed)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("watch %s: it ended", prefix)
}
