package receiver

import (
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// Of returns a copy of a volume as a Receiver needs it.
func Of(f *volume.Follower) Copy { return follower{f} }

type follower struct{ *volume.Follower }

// Stage implements Copy.
func (f follower) Stage(StagePoint) (Staging, error) {
	return nil, fmt.Errorf("take chunks: %w", ballast.ErrNotReady)
}

func (f follower) Changed(ballast.LSN) []int { return nil }
