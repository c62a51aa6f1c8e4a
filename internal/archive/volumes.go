package archive

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// Found is a volume that the archive has.
type Found struct {
	ID      ballast.VolumeID
	Name    string
	Spec    ballast.VolumeSpec
	Newest  tail.Point // the newest point that can be restored; zero: none
	Removed time.Time  // zero: it was not removed
	Err     error      // why that is not the newest there was; nil: it is
}

// Volumes returns every volume that the archive has, by its ID, removed ones too. What is
// wrong with one of them is in its Err.
func (a *Archive) Volumes(ctx context.Context) ([]Found, error) {
	bases, damage, err := a.allBases(ctx)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	ids, err := a.volumeIDs(ctx, bases)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	found := make([]Found, len(ids))
	r := &historian{archive: a, bases: bases, damage: damage}
	for i, id := range ids {
		if found[i], err = r.find(ctx, id); err != nil {
			return nil, fmt.Errorf("list volumes: %w", err)
		}
	}
	return found, nil
}

// volumeIDs returns every volume that has a log or a base.
func (a *Archive) volumeIDs(ctx context.Context, bases map[ballast.VolumeID][]Base) ([]ballast.VolumeID, error) {
	ids := map[ballast.VolumeID]bool{}
	for id := range bases {
		ids[id] = true
	}
	for object, err := range a.store.List(ctx, tail.Root) {
		if err != nil {
			return nil, err
		}
		if name := tail.ParseName(object.Name); name.Kind != tail.Other {
			ids[name.Volume] = true
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// find describes one volume; an error is one of the store's.
func (r *historian) find(ctx context.Context, id ballast.VolumeID) (Found, error) {
	h, plan, err := r.plan(ctx, id, When{})
	if h == nil {
		return Found{}, err
	}
	f := Found{ID: id, Name: h.Name, Spec: h.Spec, Removed: h.Removed, Err: err}
	if plan != nil {
		f.Newest = plan.Point
	} else if p, ok := h.Newest(); ok {
		f.Newest = p
	}
	if f.Spec.Size == 0 { // no open tells
		f.Spec = r.specOfBase(ctx, id)
	}
	return f, nil
}

// specOfBase returns what the newest base that can be read says of its volume.
func (r *historian) specOfBase(ctx context.Context, id ballast.VolumeID) ballast.VolumeSpec {
	if err := r.archive.repo.LoadIndex(ctx); err != nil {
		return ballast.VolumeSpec{}
	}
	for _, b := range slices.Backward(r.bases[id]) {
		if m, err := openRoot(ctx, r.archive.repo, b.Tree); err == nil {
			return m.manifest.Spec
		}
	}
	return ballast.VolumeSpec{}
}
