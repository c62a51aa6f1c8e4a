package docker

import (
	"context"
	"time"
)

// Volumes is what the driver asks of the node. It must be safe for concurrent use.
// Calls should return when their context ends; the driver survives ones that do not.
//
// Errors: [ballast.ErrNotReady] means "not known yet, ask again" and is waited out
// within the call's budget; every other error goes to the user as it is, so it must
// say what is wrong and what to do.
type Volumes interface {
	// Create makes a volume; one that exists with the same options is no error.
	Create(ctx context.Context, name string, options map[string]string) error
	// Get answers from the local view. [ballast.ErrNotFound] only when it is known.
	Get(ctx context.Context, name string) (Volume, error)
	// List answers from the local view.
	List(ctx context.Context) ([]Volume, error)
	// Remove removes a volume that nobody holds. Docker asks for it only when none
	// of its containers, running or not, refers to the volume: a holder from Docker
	// that is still there is what a crash has left, and no reason to refuse.
	Remove(ctx context.Context, name string) error
	// Attach mounts a volume for a holder and returns where. One holder may attach
	// several times, and each takes a Detach.
	Attach(ctx context.Context, name, holder string) (mountpoint string, err error)
	// Detach ends one Attach of the holder; of an unknown one it does nothing.
	Detach(ctx context.Context, name, holder string) error
}

// Volume is a volume as Docker is shown it.
type Volume struct {
	Name       string
	Mountpoint string         // empty when it is not mounted
	CreatedAt  time.Time      // zero when it is not known
	Status     map[string]any // shown by docker volume inspect
}
