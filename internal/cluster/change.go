package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
)

// maxRetries bounds how often a change is decided again because another one
// came first. Reaching it takes somebody who changes one record all the time.
const maxRetries = 32

var errContended = errors.New("others keep changing it; nothing was changed, try again")

// Create makes the record of a volume, or returns the one that exists when it
// is as asked. Where it differs, the error is [ballast.ErrExists].
func (r *Records) Create(ctx context.Context, name string, options map[string]string) (Record, error) {
	made, err := newRecord(NewVolumeID(), name, options, time.Now())
	if err != nil {
		return Record{}, fmt.Errorf("create volume: %w", err)
	}
	keys, err := r.keyspace(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("create volume %q: %w", name, err)
	}
	for range maxRetries {
		ok, err := r.swap(ctx, keys, &made, 0, nil, item{key: nameKey(name), value: []byte(made.ID)})
		if err != nil {
			return Record{}, fmt.Errorf("create volume %q: %w", name, err)
		}
		if ok {
			return made, nil
		}
		found, err := r.fetchByName(ctx, keys, name)
		if errors.Is(err, ballast.ErrNotFound) {
			continue // removed in between
		}
		if err == nil {
			err = acceptExisting(found, options)
		}
		return found, wrapNonNil(fmt.Sprintf("create volume %q", name), err)
	}
	return Record{}, fmt.Errorf("create volume %q: %w", name, errContended)
}

// Remove moves a volume to the trash; its name is free again.
func (r *Records) Remove(ctx context.Context, id ballast.VolumeID) (Record, error) {
	return r.change(ctx, "remove", id, func(old Record) (Record, error) { return decideRemove(old, time.Now()) })
}

// Restore takes a volume out of the trash, under the name as, or its own when
// as is empty. It is found by name or, where several had that name, by id.
func (r *Records) Restore(ctx context.Context, nameOrID, as string) (Record, error) {
	picked, err := pickFromTrash(r.Trash(), nameOrID)
	if ready, _ := r.Ready(); err != nil && !ready {
		err = r.notReady()
	}
	if err != nil {
		return Record{}, fmt.Errorf("restore volume: %w", err)
	}
	return r.change(ctx, "restore", picked.ID, func(old Record) (Record, error) { return decideRestore(old, as) })
}

// Formatted notes that a claimed volume holds a filesystem from now on.
func (r *Records) Formatted(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) (Record, error) {
	return r.change(ctx, "mark formatted", id, func(old Record) (Record, error) { return decideFormatted(old, r.cfg.Node, epoch) })
}

// Resize notes the size in bytes that a volume shall have. It never shrinks.
func (r *Records) Resize(ctx context.Context, id ballast.VolumeID, size int64) (Record, error) {
	return r.change(ctx, "resize", id, func(old Record) (Record, error) { return decideResize(old, size) })
}

// SetMarked notes whether the archive may say that a volume was removed: before it is told so, and after
// that was taken back. Any node may have done the one, and another does the other.
func (r *Records) SetMarked(ctx context.Context, id ballast.VolumeID, marked bool) (Record, error) {
	return r.change(ctx, "mark", id, func(old Record) (Record, error) { return decideMarked(old, marked) })
}

// BeginPurge bars the way back for a volume in the trash, whose files may then
// be deleted.
func (r *Records) BeginPurge(ctx context.Context, id ballast.VolumeID) (Record, error) {
	return r.change(ctx, "purge", id, decidePurge)
}

// Forget deletes the record of a volume whose purge began and whose files are
// gone.
func (r *Records) Forget(ctx context.Context, id ballast.VolumeID) error {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return fmt.Errorf("forget volume %s: %w", id, err)
	}
	old, err := keys.get(ctx, volumeKey(id))
	if err != nil {
		return fmt.Errorf("forget volume %s: %w", id, err)
	}
	if old.rev == 0 {
		return nil
	}
	if rec, err := decodeRecord(old.value); err != nil || !rec.Purging {
		return errors.Join(fmt.Errorf("forget volume %s: it is not being purged: %w", id, ballast.ErrInUse), err)
	}
	ok, _, err := keys.swap(ctx, []item{old}, []item{{key: old.key}})
	if err != nil || !ok {
		return fmt.Errorf("forget volume %s: %w", id, errors.Join(err, errContended))
	}
	r.view.purge(id)
	return nil
}

// change decides on a record and swaps it, again for as long as another change
// came first (C1).
func (r *Records) change(ctx context.Context, verb string, id ballast.VolumeID, decide func(Record) (Record, error)) (Record, error) {
	return r.changeIf(ctx, verb, id, func(old Record) (Record, []item, error) {
		next, err := decide(old)
		return next, nil, err
	})
}

// changeIf is change for what rests on other keys as well, which must not have changed.
func (r *Records) changeIf(ctx context.Context, verb string, id ballast.VolumeID, decide func(Record) (Record, []item, error)) (Record, error) {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("%s volume %s: %w", verb, id, err)
	}
	for range maxRetries {
		old, rev, err := fetch(ctx, keys, id)
		if err != nil {
			return Record{}, fmt.Errorf("%s volume %s: %w", verb, id, err)
		}
		next, rests, err := decide(old)
		if errors.Is(err, ErrUnchanged) {
			r.view.put(old, rev)
			return old, nil
		}
		if err != nil {
			return old, fmt.Errorf("%s volume: %w", verb, err)
		}
		ok, err := r.swap(ctx, keys, &next, rev, rests, nameChanges(old, next)...)
		if err != nil {
			return old, fmt.Errorf("%s volume %q: %w", verb, old.Name, err)
		}
		if ok {
			return next, nil
		}
		if err := nameTaken(ctx, keys, old, next); err != nil {
			return old, fmt.Errorf("%s volume: %w", verb, err)
		}
		if err := r.lookAgain(ctx, keys, rests); err != nil {
			return old, fmt.Errorf("%s volume %q: %w", verb, old.Name, err)
		}
	}
	return Record{}, fmt.Errorf("%s volume %s: %w", verb, id, errContended)
}

// swap stores next over its revision rev (0: none), as long as what it rests on has not
// changed, together with the changes of names; a name that is given is taken only
// when it is free (C2).
func (r *Records) swap(ctx context.Context, keys keyspace, next *Record, rev int64, rests []item, names ...item) (bool, error) {
	data, err := encodeRecord(*next)
	if err != nil {
		return false, fmt.Errorf("encode record: %w", err)
	}
	if len(data) > maxRecord {
		return false, fmt.Errorf("the record has %d bytes, more than the %d it can have: %w", len(data), maxRecord, ballast.ErrInvalid)
	}
	conditions := append([]item{{key: volumeKey(next.ID), rev: rev}}, rests...)
	for _, n := range names {
		if n.value != nil {
			conditions = append(conditions, item{key: n.key})
		}
	}
	changes := append([]item{{key: volumeKey(next.ID), value: data}}, names...)
	ok, newRev, err := keys.swap(ctx, conditions, changes)
	if ok {
		next.Revision = newRev
		r.view.put(*next, newRev) // C6
	}
	return ok, err
}

// nameChanges returns what a change of a record means for the names.
func nameChanges(old, next Record) []item {
	var changes []item
	if !old.InTrash() && (next.InTrash() || next.Name != old.Name) {
		changes = append(changes, item{key: nameKey(old.Name)})
	}
	if !next.InTrash() && (old.InTrash() || next.Name != old.Name) {
		changes = append(changes, item{key: nameKey(next.Name), value: []byte(next.ID)})
	}
	return changes
}

// nameTaken returns [ballast.ErrExists] when a change failed because the name
// it wants has an owner.
func nameTaken(ctx context.Context, keys keyspace, old, next Record) error {
	for _, want := range nameChanges(old, next) {
		if want.value == nil {
			continue
		}
		owner, err := keys.get(ctx, want.key)
		if err != nil {
			return err
		}
		if owner.rev != 0 {
			return fmt.Errorf("there is a volume called %q already; restore under another name: %w", next.Name, ballast.ErrExists)
		}
	}
	return nil
}

func fetch(ctx context.Context, keys keyspace, id ballast.VolumeID) (Record, int64, error) {
	got, err := keys.get(ctx, volumeKey(id))
	if err != nil {
		return Record{}, 0, err
	}
	if got.rev == 0 {
		return Record{}, 0, fmt.Errorf("there is no such volume: %w", ballast.ErrNotFound)
	}
	rec, err := decodeRecord(got.value)
	rec.Revision = got.rev
	return rec, got.rev, err
}

func (r *Records) fetchByName(ctx context.Context, keys keyspace, name string) (Record, error) {
	owner, err := keys.get(ctx, nameKey(name))
	if err != nil {
		return Record{}, err
	}
	if owner.rev == 0 {
		return Record{}, notFound(name)
	}
	rec, rev, err := fetch(ctx, keys, ballast.VolumeID(owner.value))
	if err == nil {
		r.view.put(rec, rev)
	}
	return rec, err
}

func wrapNonNil(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
