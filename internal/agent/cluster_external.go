package agent

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/vfs"
)

// foundingFile holds the authority with which this node begins a cluster in an etcd that is not
// ours, until it has: that the one in there is the same tells that it was this node.
const foundingFile = "founding.json"

const maxFounding = 64 << 10 // bytes

// settleInExternal makes a node whose records are in an etcd that is not ours the first one of
// a cluster there; or says that there is one, which it has to join: two nodes that do not know
// of each other must not share records.
func (n *node) settleInExternal(ctx context.Context) {
	if len(n.cfg.Etcd) == 0 || n.network() != nil {
		return
	}
	if ready, _ := n.records.Ready(); !ready {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recordBudget)
	defer cancel()
	err := n.beginInExternal(ctx)
	switch {
	case err == nil:
		n.health.clear("", condNotJoined)
	case errors.Is(err, ballast.ErrExists):
		n.health.raise("", condNotJoined, "The etcd that this node was given has the records of a cluster, and this node is not in it.",
			"type `ballast token create` on a node of the cluster, and here what it prints")
	default:
		n.quiet.Warn("external", "whether there is a cluster in the etcd that this node was given is not known, or none could be begun", "error", err)
	}
}

// beginInExternal begins a cluster, or ends what was begun. The error is [ballast.ErrExists] when
// there is one that this node is not in.
func (n *node) beginInExternal(ctx context.Context) error {
	_, err := n.authority(ctx)
	if err != nil && !errors.Is(err, ballast.ErrNotFound) {
		return err
	}
	if err == nil {
		if _, err := vfs.ReadFile(n.disk, foundingFile, maxFounding); errors.Is(err, fs.ErrNotExist) {
			return ballast.ErrExists
		}
	}
	if _, err := n.goPublic(ctx, ""); err != nil {
		return err
	}
	return nil
}

// foundInExternal is foundCluster where others may begin a cluster at the same time: one does.
func (n *node) foundInExternal(ctx context.Context, listen, address string) (identity.Folder, error) {
	authority, data, err := n.foundingAuthority()
	if err != nil {
		return identity.Folder{}, err
	}
	self, err := n.records.Found(ctx, data, cluster.Node{Name: n.cfg.Node, Address: address, Version: n.cfg.Version, JoinedAt: time.Now().UTC().Truncate(time.Second)})
	if errors.Is(err, ballast.ErrExists) {
		return identity.Folder{}, errors.Join(err, removeFile(n.disk, foundingFile))
	}
	if err != nil {
		return identity.Folder{}, err
	}
	return folderOf(authority, self, listen, address)
}

// foundingAuthority returns the authority that this node means to begin a cluster with, which
// is on disk before anybody hears of it.
func (n *node) foundingAuthority() (*identity.Authority, []byte, error) {
	data, err := vfs.ReadFile(n.disk, foundingFile, maxFounding)
	if err == nil {
		if a, err := identity.ParseAuthority(data); err == nil {
			return a, data, nil
		} // what is damaged began nothing, and gives way
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	made, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		return nil, nil, err
	}
	if data, err = made.Encode(); err != nil {
		return nil, nil, err
	}
	return made, data, vfs.ReplaceFile(n.disk, foundingFile, data)
}
