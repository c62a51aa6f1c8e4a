package archive

import (
	"context"
	"errors"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

const maxOrigins = 16 // volumes that began as one another, one after the other

var errStub = errors.New("not written yet")

type headerCache struct{}

func (a *Archive) began(_ context.Context, _ SnapshotInfo) (*tail.Open, error) {
	return &tail.Open{}, nil
}

// History returns what the archive has of a volume.
func (a *Archive) History(ctx context.Context, volume ballast.VolumeID) (*History, error) {
	return nil, errStub
}

// Found is a volume that the archive has.
type Found struct {
	ID      ballast.VolumeID
	Name    string
	Spec    ballast.VolumeSpec
	Newest  tail.Point // zero: nothing of it can be restored; see Err
	Removed time.Time  // zero: it was not removed
	Err     error      // why its newest point is not to be had
}

// Volumes returns every volume that the archive has.
func (a *Archive) Volumes(ctx context.Context) ([]Found, error) { return nil, errStub }
