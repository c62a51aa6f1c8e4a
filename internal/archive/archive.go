package archive

import (
	"context"
	"fmt"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// Archive is an open archive. Its zero value is not valid; use [New].
type Archive struct {
	store   store.Store
	repo    *repository.Repository
	program string // who writes, as "ballast 1.2.3"

	mu      sync.Mutex // guards headers
	headers headerCache
}

// New returns the archive of an open store and its repository, which stay the
// caller's to close.
func New(st store.Store, repo *repository.Repository, program string) *Archive {
	return &Archive{store: st, repo: repo, program: program}
}

// Repository returns the archive's repository.
func (a *Archive) Repository() *repository.Repository { return a.repo }

// Bases returns a volume's base snapshots by LSN, oldest first; of two at one LSN
// the one of the lower epoch comes first. Those of former writers are among them.
func (a *Archive) Bases(ctx context.Context, volume ballast.VolumeID) ([]Base, error) {
	all, err := a.allBases(ctx)
	if err != nil {
		return nil, err
	}
	return all[volume], nil
}

// allBases returns the bases of every volume.
func (a *Archive) allBases(ctx context.Context) (map[ballast.VolumeID][]Base, error) {
	snapshots, err := a.repo.Snapshots(ctx)
	if err != nil {
		return nil, fmt.Errorf("list base snapshots: %w", err)
	}
	all := map[ballast.VolumeID][]Base{}
	for i := range snapshots {
		if b, ok := baseOf(&snapshots[i]); ok {
			all[b.Volume] = append(all[b.Volume], *b)
		}
	}
	for _, bases := range all {
		sortBases(bases)
	}
	return all, nil
}
