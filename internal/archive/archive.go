package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// Archive is an open archive. Its zero value is not valid; use [New].
type Archive struct {
	store   store.Store
	repo    *repository.Repository
	sealer  *repository.Sealer // of the log tail
	log     *tail.Reader
	program string // who writes, as "ballast 1.2.3"

	mu    sync.Mutex // guards opens
	opens map[tail.Name]*tail.Open
}

// New returns the archive of an open store and its repository, which stay the
// caller's to close.
func New(st store.Store, repo *repository.Repository, program string) *Archive {
	s := repo.Sealer(tailPurpose)
	return &Archive{store: st, repo: repo, sealer: s, log: tail.NewReader(st, s), program: program, opens: map[tail.Name]*tail.Open{}}
}

// tailPurpose is what the log tail's keys are derived for. It is part of the format.
const tailPurpose = "ballast log tail"

// Tail returns what seals the log tail: writers of it are given this one.
func (a *Archive) Tail() tail.Sealer { return a.sealer }

// Repository returns the archive's repository.
func (a *Archive) Repository() *repository.Repository { return a.repo }

// Bases returns a volume's base snapshots by LSN, oldest first; of two at one LSN
// the one of the lower epoch comes first. Those of former writers are among them. With a
// [repository.DamageError] they are those that can be read.
func (a *Archive) Bases(ctx context.Context, volume ballast.VolumeID) ([]Base, error) {
	all, damage, err := a.allBases(ctx)
	if err != nil {
		return nil, err
	}
	return all[volume], damage
}

// allBases returns the bases of every volume; damage is of snapshots that cannot be read,
// be they bases or not.
func (a *Archive) allBases(ctx context.Context) (all map[ballast.VolumeID][]Base, damage, err error) {
	snapshots, err := a.repo.Snapshots(ctx)
	var damaged *repository.DamageError
	if err != nil && !errors.As(err, &damaged) {
		return nil, nil, fmt.Errorf("list base snapshots: %w", err)
	}
	all = map[ballast.VolumeID][]Base{}
	for i := range snapshots {
		if b, ok := baseOf(&snapshots[i]); ok {
			all[b.Volume] = append(all[b.Volume], *b)
		}
	}
	for _, bases := range all {
		sortBases(bases)
	}
	return all, err, nil
}
