package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/stream"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// members is what is known of the volume's copies at the start: without a record, that this
// is the only one.
func (c Config) members() replica.Members {
	if c.Members.Epoch != 0 {
		return c.Members
	}
	return replica.Members{Epoch: c.Epoch, Primary: c.Node, InSync: []ballast.NodeID{c.Node}, MinCopies: 1}
}

// hollow reports whether the copy here does not count yet: it came, or comes, from another one.
func (c Config) hollow() bool { return !slices.Contains(c.members().InSync, c.Node) }

// newHub returns what carries the log to the volume's other copies. An engine whose node has
// no name is on its own for good, and has none.
func (e *engine) newHub(id ballast.VolumeID) *stream.Hub {
	if e.cfg.Node == "" {
		return nil
	}
	m, dialer := e.cfg.members(), &peerDialer{dir: e.cfg.Identity}
	return stream.New(stream.Config{
		Node: e.cfg.Node, Members: m, // of which cluster a peer is, its certificate has said
		Hollow:  e.cfg.hollow(),
		Dial:    dialer.dial,
		Control: newRecords(e.cfg.Agent, id, e.gate, func() replica.Branch { return replica.BranchOf(e.volume.Lineage()) }),
		Log:     e.log,
		OnStall: e.noteStall,
	})
}

// ship runs the hub until ctx ends, or the gate is shut for ever: then nothing is committed
// any more. When it ends by itself, this writer is fenced off.
func (e *engine) ship(ctx context.Context) {
	if e.hub == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with ship
		select {
		case <-e.gate.shut:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := e.hub.Run(ctx, shipped{e.volume}); err != nil && ctx.Err() == nil {
		e.gate.fence(err.Error())
	}
}

// noteStall remembers why writes wait for another copy; "": they do not.
func (e *engine) noteStall(reason string) {
	e.stall.Store(&reason)
	if reason != "" {
		e.log.Warn("writes wait for another copy", "reason", reason)
	}
}

// tellComplete tells the hub when a volume that was opened hollow has everything.
func (e *engine) tellComplete(ctx context.Context) {
	if e.hub == nil || !e.cfg.hollow() {
		return
	}
	tick := time.NewTicker(completePoll)
	defer tick.Stop()
	for e.volume.Stats().MissingChunks > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	e.log.Info("all chunks of the volume are here")
	e.hub.Complete()
}

// completePoll is how often a volume that fills in is looked at.
const completePoll = 100 * time.Millisecond

// shipper is the hub as the volume sees it. Who cannot commit is fenced off, and then
// nothing is read either.
type shipper struct {
	*stream.Hub
	gate *gate
}

// Committed implements [volume.Shipper].
func (s shipper) Committed(lsn ballast.LSN) error {
	err := s.Hub.Committed(lsn)
	if errors.Is(err, stream.ErrFenced) {
		s.gate.fence(err.Error())
	}
	return err
}

// shipped is the volume as the hub sees it.
type shipped struct{ *volume.Volume }

// SnapshotOf implements [stream.Log].
func (s shipped) SnapshotOf(ctx context.Context, changedAfter func(chunk int) ballast.LSN) (stream.Snapshot, error) {
	taken, err := s.Volume.SnapshotOf(ctx, changedAfter)
	if err != nil {
		return nil, err
	}
	return chunks{taken}, nil
}

// chunks is a snapshot as the hub sees it.
type chunks struct{ *volume.Snapshot }

// LSN implements [stream.Snapshot].
func (c chunks) LSN() ballast.LSN { return c.Info().LSN }

// Size implements [stream.Snapshot].
func (c chunks) Size() int64 { return c.Info().Size }

// Next implements [stream.Snapshot].
func (c chunks) Next(p []byte) (chunk int, changed ballast.LSN, zero bool, err error) {
	next, err := c.NextChunk(p)
	return next.Chunk, next.LSN, next.Zero, err
}

// peerDialer connects to other nodes. Who this node is, is read when it is needed first: an
// engine may be older than the cluster.
type peerDialer struct {
	dir string

	mu     sync.Mutex // guards everything below
	dialer *peer.Dialer
}

// dial connects to the receiver on another node.
func (d *peerDialer) dial(ctx context.Context, p replica.Peer) (net.Conn, error) {
	dialer, err := d.open()
	if err != nil {
		return nil, err
	}
	return dialer.Dial(ctx, p.Node, p.Address, peer.ProtocolReplica)
}

func (d *peerDialer) open() (*peer.Dialer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dialer != nil {
		return d.dialer, nil
	}
	if d.dir == "" {
		return nil, fmt.Errorf("this node has no identity: %w", fs.ErrNotExist)
	}
	disk, err := vfs.OS(d.dir)
	if err != nil {
		return nil, err
	}
	own, err := identity.Open(disk, ".")
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	// The folder stays open: a certificate that was renewed is read from it.
	d.dialer = peer.NewDialer(own, nil)
	return d.dialer, nil
}
