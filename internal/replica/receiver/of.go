package receiver

import "github.com/ballast-io/ballast/internal/volume"

// Of returns a copy of a volume as a Receiver needs it.
func Of(f *volume.Follower) Copy { return follower{f} }

type follower struct{ *volume.Follower }

// Stage implements Copy.
func (f follower) Stage(to volume.StagePoint) (Staging, error) {
	s, err := f.Follower.Stage(to)
	if err != nil {
		return nil, err
	}
	return s, nil
}
