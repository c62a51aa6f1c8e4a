package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"github.com/ballast-io/ballast"
)

// EpochLeap is how far above every epoch that is known here those of rebuilt records begin: the
// lost node may have used some that nobody else has heard of, each of which took an attach.
const EpochLeap = 1 << 20

// CopyHere is what a node finds of a volume on its own disk when it rebuilds the records.
type CopyHere struct {
	Epoch  ballast.Epoch // the highest that the files or the attachment have seen; 0: none
	Usable bool          // the files are there, whole, and not damaged
}

// Fate is what becomes of a volume whose record is rebuilt.
type Fate int

// The fates.
const (
	FateKept  Fate = iota // the copy here has every write that was acknowledged, as far as is known here
	FateStale             // the copy here may lack some: it counts only when an operator forces it
	FateGone              // there is no copy here that could be used
	FateEmpty             // nothing was ever written to it
)

// DecideRebuilt makes of the record that a node last knew the one that it goes on with alone, as
// the only node of another cluster. Nobody holds the volume, and its epoch is above all that the
// record and the copy have seen (C3). Copies elsewhere are out; where the one here does not count,
// the record goes on naming those that did, so that nothing is attached without an operator's word (C9).
func DecideRebuilt(r Record, node ballast.NodeID, here CopyHere) (Record, Fate) {
	next := r
	next.Primary, next.Added, next.Revision = "", nil, 0
	if r.Epoch == 0 && here.Epoch == 0 && len(r.InSync) == 0 {
		next.Copies = nil
		return next, FateEmpty
	}
	next.Epoch = max(r.Epoch, here.Epoch) + EpochLeap
	switch {
	case here.Usable && (slices.Contains(r.InSync, node) || len(r.InSync) == 0):
		next.InSync, next.Copies = []ballast.NodeID{node}, []ballast.NodeID{node}
		return next, FateKept
	case here.Usable:
		next.Copies = withNodes(next.InSync, node)
		return next, FateStale
	}
	if others := withoutNode(r.InSync, node); len(others) > 0 {
		next.InSync = others
	}
	next.Copies = slices.Clone(next.InSync)
	return next, FateGone
}

// Rebuilt is all that a cluster's records begin with when a node makes them anew.
type Rebuilt struct {
	Node      Node
	Authority []byte
	Records   []Record
}

type storedRebuilt struct {
	Node      json.RawMessage   `json:"node"`
	Authority []byte            `json:"authority"`
	Records   []json.RawMessage `json:"records"`
}

// MarshalJSON implements [json.Marshaler].
func (b Rebuilt) MarshalJSON() ([]byte, error) {
	node, err := encodeNode(b.Node)
	if err != nil {
		return nil, err
	}
	stored := storedRebuilt{Node: node, Authority: b.Authority}
	for _, r := range b.Records {
		data, err := encodeRecord(r)
		if err != nil {
			return nil, err
		}
		stored.Records = append(stored.Records, data)
	}
	return json.Marshal(stored)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Rebuilt) UnmarshalJSON(data []byte) error {
	var stored storedRebuilt
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	node, err := decodeNode(stored.Node)
	if err != nil {
		return err
	}
	*b = Rebuilt{Node: node, Authority: stored.Authority}
	for _, raw := range stored.Records {
		r, err := decodeRecord(raw)
		if err != nil {
			return err
		}
		b.Records = append(b.Records, r)
	}
	return nil
}

// items are the keys that the cluster begins with.
func (b Rebuilt) items() ([]item, error) {
	node, err := encodeNode(b.Node)
	if err != nil {
		return nil, err
	}
	all := []item{
		{key: authorityKey, value: b.Authority},
		{key: nodeKey(b.Node.Name), value: node},
		{key: generationKey, value: strconv.AppendUint(nil, b.Node.Generation, 10)},
	}
	for _, r := range b.Records {
		data, err := encodeRecord(r)
		if err != nil {
			return nil, err
		}
		all = append(all, item{key: volumeKey(r.ID), value: data})
		if !r.InTrash() {
			all = append(all, item{key: nameKey(r.Name), value: []byte(r.ID)})
		}
	}
	return all, nil
}

// Restore makes the records of a cluster in dir, of which this node is the only member. There must be
// no etcd in dir; when it breaks off what is there is to be deleted, and it is done again.
func Restore(ctx context.Context, dir string, b Rebuilt, log *slog.Logger) error {
	items, err := b.items()
	if err != nil {
		return fmt.Errorf("rebuild records: %w", err)
	}
	e, err := startEtcd(ctx, memberSpec{dir: dir, node: b.Node.Name}, log)
	if err != nil {
		return fmt.Errorf("rebuild records: %w", err)
	}
	if err = e.waitReady(ctx); err == nil {
		err = putAll(ctx, etcdKeys{e.client}, items)
	}
	if err := errors.Join(err, e.stop(ctx)); err != nil {
		return fmt.Errorf("rebuild records: %w", err)
	}
	return nil
}

func putAll(ctx context.Context, keys keyspace, items []item) error {
	const atOnce = 32
	for some := range slices.Chunk(items, atOnce) {
		if _, _, err := keys.swap(ctx, nil, some); err != nil {
			return err
		}
	}
	return nil
}

// IsClient reports whether this node only asks others for the records, so that it has none of
// its own to go on with.
func (r *Records) IsClient() bool { return r.mode() == client }

// OthersAgree returns an error when those that keep the records answer, which then are not lost.
func (r *Records) OthersAgree(ctx context.Context) error {
	return r.refuseForce(ctx, r.currentPeering())
}

// GiveUp ends the records for good: another cluster has taken this one's place, and why says so.
func (r *Records) GiveUp(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaveUp = why
	select {
	case r.switched <- struct{}{}:
	default: // it is seen with the change that waits already
	}
}

func (r *Records) whyGivenUp() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gaveUp
}

// VotesAlone reports whether this node's vote alone is a quorum: it goes on without anybody's word.
func (r *Records) VotesAlone() bool {
	keepers := r.keepers()
	return r.cfg.External == nil && r.mode() == member && (len(keepers) == 0 || len(keepers) == 1 && keepers[0] == r.cfg.Node)
}
