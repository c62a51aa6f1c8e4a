package stream

import (
	"context"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// Of returns an open volume as a Hub needs it.
func Of(v *volume.Volume) Log { return opened{v} }

type opened struct{ *volume.Volume }

// SnapshotOf implements Log.
func (o opened) SnapshotOf(ctx context.Context, changedAfter func(chunk int) ballast.LSN) (Snapshot, error) {
	s, err := o.Volume.SnapshotOf(ctx, changedAfter)
	if err != nil {
		return nil, err
	}
	return snapshot{s}, nil
}

type snapshot struct{ *volume.Snapshot }

// LSN implements Snapshot.
func (s snapshot) LSN() ballast.LSN { return s.Info().LSN }

// Size implements Snapshot.
func (s snapshot) Size() int64 { return s.Info().Size }

// Next implements Snapshot.
func (s snapshot) Next(p []byte) (chunk int, changed ballast.LSN, zero bool, err error) {
	c, err := s.NextChunk(p)
	return c.Chunk, c.LSN, c.Zero, err
}
