package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
)

// Adopt takes in the record of a volume that has an id, and maybe an epoch, of its
// own: one that was restored, or recovered from the archive. Where there is a volume
// of that name or id, in the trash or not, the error is [ballast.ErrExists].
func (r *Records) Adopt(ctx context.Context, made Record) (Record, error) {
	made, err := decideAdopt(made, r.cfg.Node, time.Now())
	if err != nil {
		return Record{}, fmt.Errorf("adopt volume: %w", err)
	}
	keys, err := r.keyspace(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("adopt volume %q: %w", made.Name, err)
	}
	ok, err := r.swap(ctx, keys, &made, 0, nil, item{key: nameKey(made.Name), value: []byte(made.ID)})
	if err != nil {
		return Record{}, fmt.Errorf("adopt volume %q: %w", made.Name, err)
	}
	if !ok {
		return Record{}, fmt.Errorf("adopt volume: there is a volume called %q, or one with the id %s, already: %w", made.Name, made.ID, ballast.ErrExists)
	}
	return made, nil
}

// Replace puts made, as Adopt does, in the place of a volume that nobody holds: that one
// goes to the trash, and made has its name. Either both happen or neither.
func (r *Records) Replace(ctx context.Context, old ballast.VolumeID, made Record) (Record, error) {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("replace volume %s: %w", old, err)
	}
	for range maxRetries {
		before, rev, err := fetch(ctx, keys, old)
		if err != nil {
			return Record{}, fmt.Errorf("replace volume %s: %w", old, err)
		}
		removed, err := decideRemove(before, time.Now())
		if err != nil {
			return Record{}, fmt.Errorf("replace volume: %w", err)
		}
		made.Name = before.Name
		if made, err = decideAdopt(made, r.cfg.Node, time.Now()); err != nil {
			return Record{}, fmt.Errorf("replace volume: %w", err)
		}
		ok, err := r.swapBoth(ctx, keys, removed, rev, made)
		if err != nil {
			return Record{}, fmt.Errorf("replace volume %q: %w", before.Name, err)
		}
		if ok {
			return made, nil
		}
	}
	return Record{}, fmt.Errorf("replace volume %s: %w", old, errContended)
}

// swapBoth stores removed over its revision, and made under removed's name. The name
// changes only together with the record that has it, so the record's revision
// stands for both.
func (r *Records) swapBoth(ctx context.Context, keys keyspace, removed Record, rev int64, made Record) (bool, error) {
	removedData, err := encodeRecord(removed)
	if err != nil {
		return false, fmt.Errorf("encode record: %w", err)
	}
	madeData, err := encodeRecord(made)
	if err != nil {
		return false, fmt.Errorf("encode record: %w", err)
	}
	ok, newRev, err := keys.swap(ctx,
		[]item{{key: volumeKey(removed.ID), rev: rev}, {key: volumeKey(made.ID)}},
		[]item{
			{key: volumeKey(removed.ID), value: removedData},
			{key: volumeKey(made.ID), value: madeData},
			{key: nameKey(made.Name), value: []byte(made.ID)},
		})
	if ok { // C6: the removed one first, or it would take the name away
		r.view.put(removed, newRev)
		r.view.put(made, newRev)
	}
	return ok, err
}
