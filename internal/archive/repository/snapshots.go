package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ballast-io/ballast"
)

// snapshotCache holds the snapshots that were read: they never change.
type snapshotCache struct {
	mu   sync.Mutex // guards everything below
	byID map[ID]*Snapshot
}

// SaveSnapshot stores a snapshot, and returns its ID. Its tree must be in the index
// (A1), and the locks that this repository holds still in the store (A4):
// otherwise somebody may have pruned what it refers to, and it fails with
// [ErrLockLost].
func (r *Repository) SaveSnapshot(ctx context.Context, s *Snapshot) (ID, error) {
	if !r.HasBlob(TreeBlob, s.Tree) && !seeded(snapshotBeforeData) {
		return ID{}, fmt.Errorf("save snapshot: %w: its tree %s is not in the index; flush first", ballast.ErrInvalid, s.Tree.Short())
	}
	data, err := s.encode()
	if err != nil {
		return ID{}, fmt.Errorf("save snapshot: %w", err)
	}
	if err := r.confirmLocks(ctx); err != nil {
		return ID{}, fmt.Errorf("save snapshot: %w", err)
	}
	id, err := r.putSealed(ctx, snapsFolder, data)
	if err != nil {
		return ID{}, fmt.Errorf("save snapshot: %w", err)
	}
	return id, nil
}

// Snapshots returns the snapshots in the order of their times. Those that are damaged
// are missing, and each is in the error as a [*DamageError]. What was read before
// is not read again. The result is the caller's, what its pointers lead to is not.
func (r *Repository) Snapshots(ctx context.Context) ([]Snapshot, error) {
	all, bad, err := r.readSnapshots(ctx)
	if err = errors.Join(append(bad, err)...); err != nil {
		err = fmt.Errorf("list snapshots: %w", err)
	}
	return all, err
}

// readSnapshots is Snapshots that tells the damaged files from what kept it from coming
// to its end.
func (r *Repository) readSnapshots(ctx context.Context) (all []Snapshot, bad []error, err error) {
	files, err := list(ctx, r.store, snapsFolder)
	if err != nil {
		return nil, nil, err
	}
	r.snapshots.mu.Lock()
	defer r.snapshots.mu.Unlock()
	bad, err = r.readSnapshotsLocked(ctx, files)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range r.snapshots.byID {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Snapshot) int {
		return cmp.Or(a.Time.Compare(b.Time), slices.Compare(a.ID[:], b.ID[:]))
	})
	return all, bad, nil
}

// readSnapshotsLocked makes the cache what the store has.
func (r *Repository) readSnapshotsLocked(ctx context.Context, files []file) (bad []error, err error) {
	byID := make(map[ID]*Snapshot, len(files))
	var fresh []file
	for _, f := range files {
		if s := r.snapshots.byID[f.id]; s != nil {
			byID[f.id] = s
			continue
		}
		fresh = append(fresh, f)
	}
	var mu sync.Mutex // guards byID
	bad, err = each(ctx, walkParallel, fresh, func(ctx context.Context, f file) error {
		s, err := r.getSnapshot(ctx, f)
		if errors.Is(err, ballast.ErrNotFound) {
			return nil // removed since it was listed
		}
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			byID[f.id] = s
		}
		return err
	})
	if err == nil {
		r.snapshots.byID = byID
	}
	return bad, err
}

func (r *Repository) getSnapshot(ctx context.Context, f file) (*Snapshot, error) {
	data, err := r.getSealed(ctx, snapsFolder, f, maxSnapshot)
	if err != nil {
		return nil, err
	}
	s, err := decodeSnapshot(f.id, data)
	if err != nil {
		return nil, &DamageError{File: snapsFolder + f.id.String(), What: "it cannot be read", Err: err}
	}
	return s, nil
}

// RemoveSnapshot removes a snapshot. What only it referred to takes room until the
// next prune. One that is not there is no error.
func (r *Repository) RemoveSnapshot(ctx context.Context, id ID) error {
	if err := r.store.Delete(ctx, snapsFolder+id.String()); err != nil {
		return fmt.Errorf("remove snapshot %s: %w", id.Short(), err)
	}
	return nil
}
