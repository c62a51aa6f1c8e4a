package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/volume"
)

// newFollowing returns the copies here whose writer is elsewhere. Which cluster a writer is of
// its certificate has said.
func (n *node) newFollowing() following {
	return receiver.New(receiver.Config{Node: n.cfg.Node, Open: n.openCopy, Allow: n.allowStream, Log: n.log})
}

// receive takes the stream of a volume whose writer is on another node.
func (n *node) receive(ctx context.Context, conn net.Conn, from identity.Node) {
	if err := n.following.Serve(ctx, conn, from.Name); err != nil && ctx.Err() == nil {
		n.log.Debug("a stream from another node ended", "node", from.Name, "error", err)
	}
}

// allowStream says whether a node may write into the copy here: the record must call it the
// primary under that epoch, and want a copy here (A19).
func (n *node) allowStream(ctx context.Context, id ballast.VolumeID, from ballast.NodeID, epoch ballast.Epoch) error {
	rec, err := n.recordUnder(ctx, id, epoch)
	if err != nil {
		return err
	}
	switch replica.Greet(0, replica.Members{Epoch: rec.Epoch, Primary: rec.Primary}, replica.Hello{Node: from, Epoch: epoch}) {
	case replica.Stale:
		return fmt.Errorf("volume %q is at epoch %d: %w", rec.Name, rec.Epoch, volume.ErrStaleEpoch)
	case replica.NotKnown:
		return fmt.Errorf("the record of volume %q does not have epoch %d: %w", rec.Name, epoch, ballast.ErrNotReady)
	case replica.NotWriter:
		return fmt.Errorf("volume %q has node %q for its primary: %w", rec.Name, rec.Primary, ballast.ErrInvalid)
	case replica.Welcome:
	}
	if !slices.Contains(rec.Copies, n.cfg.Node) || rec.InTrash() {
		return fmt.Errorf("there is to be no copy of volume %q here: %w", rec.Name, ballast.ErrInvalid)
	}
	return nil
}

// openCopy opens a volume's copy to follow, and makes an empty one of size bytes where there
// is none. No engine runs in its folder then, and none can start before it is closed (A19).
func (n *node) openCopy(ctx context.Context, id ballast.VolumeID, size int64) (receiver.Copy, error) {
	if err := n.waitAdopted(ctx); err != nil {
		return nil, err
	}
	s := n.slot(id)
	if s.current() != nil {
		return nil, fmt.Errorf("the volume is attached here, or what was is not taken down yet: %w", ballast.ErrInUse)
	}
	_, err := volume.ReadIdentity(n.disk, s.dir)
	isNew := errors.Is(err, fs.ErrNotExist)
	switch {
	case isNew && size == 0:
		return nil, fmt.Errorf("this node has no copy of volume %s: %w", id, ballast.ErrNotFound)
	case isNew:
		if err := n.disk.Mkdir(s.dir); err != nil {
			return nil, fmt.Errorf("make volume's folder: %w", err)
		}
	case err != nil:
		return nil, err
	}
	n.do(func(ctx context.Context) { n.learnOwner(ctx, s) }) // while it follows already
	unlock, err := engine.Lock(n.path(s.dir))
	if err != nil {
		return nil, err
	}
	f, err := n.openFollower(s, id, size, isNew)
	if err != nil {
		unlock()
		return nil, err
	}
	return &followed{Follower: f, unlock: unlock}, nil
}

func (n *node) openFollower(s *slot, id ballast.VolumeID, size int64, isNew bool) (*volume.Follower, error) {
	if isNew {
		if err := volume.CreateFollower(n.disk, s.dir, volume.Identity{ID: id, Size: size}); err != nil {
			return nil, err
		}
		if err := n.disk.SyncDir(volumesDir); err != nil {
			return nil, err
		}
	}
	return volume.OpenFollower(n.disk, s.dir, volume.FollowerOptions{LogCapacity: n.cfg.LogCapacity, Queue: n.cfg.ArchiveQueue, Log: n.log})
}

// followed is a follower as package receiver sees it, and the lock on its folder.
type followed struct {
	*volume.Follower
	unlock func()
	once   sync.Once
}

// Stage implements [receiver.Copy].
func (f *followed) Stage(to volume.StagePoint) (receiver.Staging, error) {
	return f.Follower.Stage(to)
}

// Close implements [receiver.Copy].
func (f *followed) Close() error {
	err := f.Follower.Close()
	f.once.Do(f.unlock)
	return err
}

// copyHere says where the copy on this node stands.
func (n *node) copyHere(ctx context.Context, id ballast.VolumeID) copyState {
	s := n.slot(id)
	if a := s.current(); a != nil {
		return n.copyOfEngine(ctx, a)
	}
	found := n.copyOnDisk(ctx, id)
	if found.Err == "" {
		return found
	}
	for _, c := range n.following.Copies() {
		if c.Volume == id { // whoever streams to it has it open
			return copyState{Here: true, Epoch: c.Epoch, State: replica.State{
				Lineage: c.Lineage, Last: c.Durable, Applied: c.Applied, Complete: c.Complete,
			}}
		}
	}
	return found
}

// copyOfEngine is where the copy stands that is attached here.
func (n *node) copyOfEngine(ctx context.Context, a *attachment) copyState {
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	st, err := a.engine.Status(ctx)
	if err != nil {
		return copyState{Here: true, Err: err.Error()}
	}
	return copyState{Here: true, Epoch: st.Epoch, State: replica.State{
		Lineage: st.Lineage, Last: st.Durable, Applied: st.Applied, Complete: st.MissingChunks == 0,
	}}
}

// copyOnDisk looks into the files of a copy that nobody follows.
func (n *node) copyOnDisk(ctx context.Context, id ballast.VolumeID) copyState {
	c, err := n.openCopy(ctx, id, 0)
	if errors.Is(err, ballast.ErrNotFound) {
		return copyState{}
	}
	if err != nil {
		return copyState{Here: true, Err: err.Error()}
	}
	defer c.Close() // was only looked at
	st := c.State()
	out := copyState{Here: true, Epoch: st.Epoch, State: replica.State{Lineage: st.Lineage, Last: st.Durable, Applied: st.Applied, Complete: st.Complete}}
	if st.Err != nil {
		out.Err = st.Err.Error()
	}
	return out
}
