package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/volume"
)

// errEngineGone says that no engine process runs for a volume.
var errEngineGone = errors.New("the engine is not running")

// process is one volume's engine process.
type process interface {
	archiver.Engine // its Status wraps errEngineGone as well when the process has ended

	Resize(ctx context.Context, size int64) error
	// SetMembers tells it what the volume's record says of the copies; one that names
	// another holder fences it off. Fence does so at once. Both are for ever.
	SetMembers(ctx context.Context, m replica.Members) error
	Fence(ctx context.Context, reason string) error
	// Stop flushes and ends it; one that has ended is no error. Kill ends it as a
	// crash would.
	Stop(ctx context.Context) error
	Kill() error
	// Close forgets it; it runs on.
	Close() error
}

// engines starts engine processes and finds running ones.
type engines interface {
	// Spawn starts one under the epoch of the members.
	Spawn(ctx context.Context, dir string, m replica.Members) (process, error)
	// Dial wraps errEngineGone when none runs in dir.
	Dial(ctx context.Context, dir string) (process, error)
}

// devices is package device.
type devices interface {
	Attach(ctx context.Context, spec device.Spec) (device.Attachment, error)
	Detach(ctx context.Context, deviceFile string) error
	Grow(ctx context.Context, deviceFile string, size int64) error
	Find(deviceFile string) (device.Attachment, error)
	Sweep(ctx context.Context, deviceFile string) error
}

// following is package receiver: the copies here whose writer is elsewhere.
type following interface {
	Run(ctx context.Context) error
	Serve(ctx context.Context, conn net.Conn, peer ballast.NodeID) error
	Copies() []receiver.CopyStatus
	Take(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) error
	Drop(ctx context.Context, id ballast.VolumeID, remove func() error) error
	Prepare(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) (receiver.Point, error)
	Chunk(ctx context.Context, id ballast.VolumeID, leader volume.Beginning, chunk int, p []byte) error
}

// users ends the processes that use a mount.
type users interface {
	// EndUsers kills every process that has something of what is mounted at mountpoint open,
	// and returns their names. The node's own, and Docker's, are spared.
	EndUsers(ctx context.Context, mountpoint string) ([]string, error)
}

// peers are the agents of the other nodes. Every call ends with its context; a node that
// cannot be reached is an error.
type peers interface {
	// Volumes is the volume service as a node answers it for itself.
	Volumes(node ballast.NodeID) ballastv1connect.VolumeServiceClient
	// Prepare makes the copy there what this node, as the primary under epoch, goes on from.
	Prepare(ctx context.Context, node ballast.NodeID, id ballast.VolumeID, epoch ballast.Epoch) (receiver.Point, error)
	// Chunk reads a chunk of the copy there, for this node as the primary that began there.
	Chunk(ctx context.Context, node ballast.NodeID, id ballast.VolumeID, leader volume.Beginning, chunk int, p []byte) error
	// Copy says where the copy there stands.
	Copy(ctx context.Context, node ballast.NodeID, id ballast.VolumeID) (copyState, error)
	// Owner says who owns the volume's history in the archive.
	Owner(ctx context.Context, node ballast.NodeID, id ballast.VolumeID) (string, error)
	// Certificate says until when the node's certificate is good.
	Certificate(ctx context.Context, node ballast.NodeID) (until time.Time, err error)
	// Purge has the node delete what it has of a volume whose time in the trash is over.
	Purge(ctx context.Context, node ballast.NodeID, id ballast.VolumeID) error
}

// kernelDevices are the devices of this machine.
type kernelDevices struct{ log *slog.Logger }

func (k kernelDevices) Attach(ctx context.Context, spec device.Spec) (device.Attachment, error) {
	return device.Attach(ctx, spec, k.log)
}
func (kernelDevices) Detach(ctx context.Context, file string) error { return device.Detach(ctx, file) }
func (kernelDevices) Grow(ctx context.Context, file string, size int64) error {
	return device.Grow(ctx, file, size)
}
func (kernelDevices) Find(file string) (device.Attachment, error)  { return device.Find(file) }
func (kernelDevices) Sweep(ctx context.Context, file string) error { return device.Sweep(ctx, file) }
