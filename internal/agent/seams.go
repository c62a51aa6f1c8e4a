package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/device"
)

// errEngineGone says that no engine process runs for a volume.
var errEngineGone = errors.New("the engine is not running")

// process is one volume's engine process.
type process interface {
	archiver.Engine // its Status wraps errEngineGone as well when the process has ended

	Resize(ctx context.Context, size int64) error
	// Stop flushes and ends it; one that has ended is no error. Kill ends it as a
	// crash would.
	Stop(ctx context.Context) error
	Kill() error
	// Close forgets it; it runs on.
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
