package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
	"github.com/ballast-io/ballast/internal/vfs"
)

// errJoined ends a node that is another's from now on: Run goes on with what it is then.
var errJoined = errors.New("this node is one of another cluster now")

// Join makes this node one of the cluster that the token is of, as a node there (at host:port) agrees.
// What is refused has changed nothing.
func (n *node) Join(ctx context.Context, text, at, address string) (identity.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, callBudget)
	defer cancel()
	n.publishing.Lock()
	defer n.publishing.Unlock()
	token, err := identity.ParseToken(text)
	if err != nil {
		return identity.Cluster{}, fmt.Errorf("join: %w", err)
	}
	if err := n.mayJoin(token); err != nil {
		return identity.Cluster{}, fmt.Errorf("join: %w", err)
	}
	address = cmp.Or(address, n.cfg.Advertise, n.cfg.listenAddress())
	if address != "" {
		address = withPort(address, n.cfg.port())
	}
	listen := cmp.Or(n.cfg.Listen, address, net.JoinHostPort("", n.cfg.port()))
	if stored, _ := n.clusterInfo(); stored.Listen != listen {
		if err := tryListen(ctx, listen, stored.Listen); err != nil {
			return identity.Cluster{}, fmt.Errorf("join: %w", err)
		}
	}
	folder, err := peer.Join(ctx, peer.Application{
		Token: token, Ask: withPort(at, DefaultPort), Node: n.cfg.Node, Listen: listen, Address: address, Release: n.cfg.Version,
	})
	if err != nil {
		return identity.Cluster{}, err
	}
	folder.Cluster.Joined = true
	folder.Cluster.Listen = cmp.Or(n.cfg.Listen, folder.Cluster.Address)
	if err := beginJoining(n.disk, folder); err != nil {
		return identity.Cluster{}, fmt.Errorf("join: the cluster has taken this node in, but it cannot note that; join again once the disk is mended: %w", err)
	}
	n.log.Info("this node joins a cluster", "cluster", folder.Cluster.ID, "address", folder.Cluster.Address)
	close(n.joined)
	return folder.Cluster, nil
}

// mayJoin refuses to give up anything that this node has.
func (n *node) mayJoin(token identity.Token) error {
	select {
	case <-n.joined:
		return fmt.Errorf("this node is joining already: %w", ballast.ErrInUse)
	default:
	}
	if n.givenUp.Load() != nil {
		return n.refuseFiles("this node was given up, and its copies count for nothing where it joins")
	}
	net := n.network()
	others := len(n.records.Nodes()) > 1
	if net != nil && net.own.Digest() == token.Authority {
		generation, known := n.nodeGeneration(n.cfg.Node)
		if ready, _ := n.records.Ready(); ready && known && generation == net.own.Self().Generation {
			return fmt.Errorf("this node is in that cluster already: %w", ballast.ErrExists)
		}
		return nil // it was removed, or the cluster refuses its name; what it has is the cluster's
	}
	if net != nil && others {
		return fmt.Errorf("this node is in a cluster with %d others; remove it there first: ballast node rm %s: %w", len(n.records.Nodes())-1, n.cfg.Node, ballast.ErrInUse)
	}
	if ready, _ := n.records.Ready(); !ready {
		return fmt.Errorf("what this node has is not known yet: %w", ballast.ErrNotReady)
	}
	return n.refuseVolumes()
}

// refuseVolumes says what a node would lose by becoming another cluster's.
func (n *node) refuseVolumes() error {
	const hint = "only a node without volumes can join: its own would not be known there; archive them and recover them after joining, or join with another machine"
	if len(n.cfg.Etcd) > 0 {
		return n.refuseFiles(hint) // the records are the cluster's
	}
	if live := n.records.List(); len(live) > 0 {
		return fmt.Errorf("this node has volumes (%d), such as %q; %s: %w", len(live), live[0].Name, hint, ballast.ErrInUse)
	}
	if trash := n.records.Trash(); len(trash) > 0 {
		last := slices.MaxFunc(trash, func(a, b cluster.Record) int { return a.RemovedAt.Compare(b.RemovedAt) }).RemovedAt.Add(n.cfg.TrashKeep)
		return fmt.Errorf("this node has volumes in the trash (%d), such as %q; %s; to keep one: ballast volume restore %s; to give them up: wait until %s, when the trash is empty, or start the agent with --trash-keep 1s until `ballast volume ls --trash` shows none: %w",
			len(trash), trash[0].Name, hint, trash[0].Name, last.Format(time.RFC3339), ballast.ErrInUse)
	}
	return n.refuseFiles(hint)
}

// refuseFiles refuses a node that has files of volumes.
func (n *node) refuseFiles(hint string) error {
	folders, err := n.disk.List(volumesDir)
	if err != nil {
		return fmt.Errorf("see what volumes this node has: %w", err)
	}
	if len(folders) > 0 {
		return fmt.Errorf("there are files of %d volumes in %s that this node has no record of; put them elsewhere first: %s: %w", len(folders), n.path(volumesDir), hint, ballast.ErrInUse)
	}
	return nil
}

// joiningFile holds what a node becomes by joining, until it has become it: from the
// moment it is on disk the node is the other cluster's, and before that its old self.
const joiningFile = "joining.json"

const maxJoining = 1 << 20 // bytes

type joining struct {
	Version     int              `json:"version"`
	Cluster     identity.Cluster `json:"cluster"`
	CA          []byte           `json:"ca"`
	Certificate []byte           `json:"certificate"`
	Key         []byte           `json:"key"`
}

func beginJoining(disk vfs.FS, f identity.Folder) error {
	key, err := f.Key.Encode()
	if err != nil {
		return err
	}
	data, err := json.Marshal(joining{1, f.Cluster, f.CA, f.Certificate, key})
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(disk, joiningFile, data)
}

// finishJoining makes of the node what joining.json says, if there is one: its own records
// go, and it has the identity that the cluster gave it. Broken off, it is done again.
func finishJoining(disk vfs.FS, forget func(dir string) error) error {
	data, err := vfs.ReadFile(disk, joiningFile, maxJoining)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finish joining: %w", err)
	}
	var j joining
	if err := json.Unmarshal(data, &j); err != nil || j.Version != 1 {
		return fmt.Errorf("finish joining: %s has format %d, or is damaged (%w); delete it, take this node out of the cluster with `ballast node rm` there, and join again", joiningFile, j.Version, err)
	}
	key, err := identity.ParseKey(j.Key)
	if err != nil {
		return fmt.Errorf("finish joining: %w", err)
	}
	folder := identity.Folder{Cluster: j.Cluster, CA: j.CA, Certificate: j.Certificate, Key: key}
	err = folder.Check()
	if err == nil {
		err = errors.Join(forget(recordsDir), removeFile(disk, viewFile), removeFile(disk, givenUpFile))
	}
	if err == nil {
		err = identity.Forget(disk, identity.Dir)
	}
	if err == nil {
		err = identity.Save(disk, identity.Dir, folder)
	}
	if err == nil {
		err = removeFile(disk, joiningFile)
	}
	if err != nil {
		return fmt.Errorf("finish joining: %w", err)
	}
	return disk.SyncDir(".")
}

// viewFile is what package cluster keeps of the records beside them.
const viewFile = "view.json"

func removeFile(disk vfs.FS, name string) error {
	if err := disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// forgetBelow deletes folders below a data folder.
func forgetBelow(data string) func(dir string) error {
	return func(dir string) error {
		root, err := os.OpenRoot(data)
		if err != nil {
			return err
		}
		return errors.Join(root.RemoveAll(dir), root.Close())
	}
}

// awaitJoined ends the node when it has joined another cluster.
func (n *node) awaitJoined(ctx context.Context) error {
	select {
	case <-n.joined:
		return errJoined
	case <-ctx.Done():
		return nil
	}
}
