package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/delta"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/engine"
)

// errEngineGone says that no engine process runs for a volume.
var errEngineGone = errors.New("the engine is not running")

// process is one volume's engine process.
type process interface {
	// Status wraps errEngineGone when the process has ended.
	Status(ctx context.Context) (engine.Status, error)
	Resize(ctx context.Context, size int64) error
	// Changes returns up to about limit bytes of what the durable records after an LSN
	// made of the volume; nil: there are none. It wraps [volume.ErrRecycled].
	Changes(ctx context.Context, after ballast.LSN, limit int64) (*delta.Delta, error)
	// Archived says that the archive has every record up to lsn.
	Archived(ctx context.Context, lsn ballast.LSN) error
	// Snapshot begins to read the volume as it is at one LSN: what changed behind since.
	Snapshot(ctx context.Context, since ballast.LSN) (snapshot, error)
	// Stop flushes and ends it; one that has ended is no error. Kill ends it as a
	// crash would.
	Stop(ctx context.Context) error
	Kill() error
	// Close forgets it; it runs on.
	Close() error
}

// snapshot is a volume at one LSN. It must be closed.
type snapshot interface {
	archive.BaseSource
	Close() error
}

// engines starts engine processes and finds running ones.
type engines interface {
	Spawn(ctx context.Context, dir string, epoch ballast.Epoch) (process, error)
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
