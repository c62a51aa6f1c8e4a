package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

// The decisions: each takes a record as it is and a request, and returns the
// record as it shall be, or why not. No I/O, no clock, no chance.

// ErrUnchanged is a decision's answer that the record already is as it was asked to
// be. A change that ends with it is no error.
var ErrUnchanged = errors.New("unchanged")

// newRecord decides a volume that does not exist yet.
func newRecord(id ballast.VolumeID, name string, options map[string]string, now time.Time) (Record, error) {
	if err := ballast.CheckVolumeName(name); err != nil {
		return Record{}, err
	}
	spec, err := ballast.ParseVolumeSpec(options)
	if err != nil {
		return Record{}, err
	}
	return Record{ID: id, Name: name, Spec: spec, CreatedAt: now.UTC().Truncate(time.Millisecond)}, nil
}

// acceptExisting decides whether the volume that exists is the one asked for.
// What is not asked for may be as it is, and a volume may have grown: Docker
// asks again on every node, and knows nothing of resizing.
func acceptExisting(r Record, options map[string]string) error {
	asked, err := r.Spec.With(options)
	if err != nil {
		return err
	}
	if asked.Size < r.Spec.Size {
		asked.Size = r.Spec.Size
	}
	if diff := r.Spec.Differences(asked); len(diff) > 0 {
		return fmt.Errorf("volume %q exists and differs: %s; it was left as it is: %w", r.Name, strings.Join(diff, ", "), ballast.ErrExists)
	}
	return nil
}

func decideRemove(r Record, now time.Time) (Record, error) {
	if r.InTrash() {
		return r, notFound(r.Name)
	}
	if r.Primary != "" {
		return r, fmt.Errorf("volume %q is in use on node %s: %w", r.Name, r.Primary, ballast.ErrInUse)
	}
	r.RemovedAt = now.UTC().Truncate(time.Millisecond)
	return r, nil
}

// decideRestore takes a volume out of the trash, under the name as, or its own.
func decideRestore(r Record, as string) (Record, error) {
	if !r.InTrash() {
		return r, fmt.Errorf("volume %q is not in the trash: %w", r.Name, ballast.ErrNotFound)
	}
	if r.Purging {
		return r, fmt.Errorf("volume %q is being deleted for good: %w", r.Name, ballast.ErrNotFound)
	}
	if as != "" {
		if err := ballast.CheckVolumeName(as); err != nil {
			return r, err
		}
		r.Name = as
	}
	r.RemovedAt = time.Time{}
	return r, nil
}

// decideFormatted notes whether the volume holds a filesystem, which from then
// on is never made again.
func decideFormatted(r Record, node ballast.NodeID, epoch ballast.Epoch) (Record, error) {
	if r.Primary != node || r.Epoch != epoch {
		return r, fmt.Errorf("volume %q: epoch %d on node %s is over: %w", r.Name, epoch, node, ballast.ErrInUse)
	}
	if r.Formatted {
		return r, ErrUnchanged
	}
	r.Formatted = true
	return r, nil
}

// decideAdopt accepts a record that was made elsewhere: from the archive, or for a
// volume whose files are there already.
//
// Its copy is node's, who has the files.
func decideAdopt(r Record, node ballast.NodeID, now time.Time) (Record, error) {
	if r.Primary != "" || r.InTrash() {
		return r, fmt.Errorf("volume %q: a record that is held or removed cannot be taken in: %w", r.Name, ballast.ErrInvalid)
	}
	if r.CreatedAt.IsZero() {
		r.CreatedAt = now.UTC().Truncate(time.Millisecond)
	}
	if len(r.InSync) == 0 {
		r.InSync = []ballast.NodeID{node}
	}
	r.Copies = withNodes(r.Copies, r.InSync...)
	if err := r.check(); err != nil {
		return r, fmt.Errorf("%w: %w", err, ballast.ErrInvalid)
	}
	return r, nil
}

func decideResize(r Record, size int64) (Record, error) {
	switch {
	case r.InTrash():
		return r, notFound(r.Name)
	case size < r.Spec.Size:
		return r, fmt.Errorf("volume %q has %s and cannot shrink to %s; nothing was changed: %w", r.Name, ballast.FormatSize(r.Spec.Size), ballast.FormatSize(size), ballast.ErrInvalid)
	case size == r.Spec.Size:
		return r, ErrUnchanged
	}
	r.Spec.Size = size
	return r, r.Spec.Check()
}

// decidePurge bars the way back before the files of a removed volume go.
func decidePurge(r Record) (Record, error) {
	if !r.InTrash() {
		return r, fmt.Errorf("volume %q is not in the trash: %w", r.Name, ballast.ErrInUse)
	}
	if r.Purging {
		return r, ErrUnchanged
	}
	r.Purging = true
	return r, nil
}

// decideMarked notes whether the archive may say that a volume was removed.
func decideMarked(r Record, marked bool) (Record, error) {
	if r.Marked == marked {
		return r, ErrUnchanged
	}
	r.Marked = marked
	return r, nil
}

// pickFromTrash finds the volume that nameOrID names: the one with that id, or
// the only one of that name that can be restored.
func pickFromTrash(trash []Record, nameOrID string) (Record, error) {
	var found []Record
	for _, r := range trash {
		if string(r.ID) == nameOrID {
			return r, nil
		}
		if r.Name == nameOrID && !r.Purging {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return Record{}, fmt.Errorf("no volume %q in the trash: %w", nameOrID, ballast.ErrNotFound)
	case 1:
		return found[0], nil
	}
	slices.SortFunc(found, func(a, b Record) int { return a.RemovedAt.Compare(b.RemovedAt) })
	var ids []string
	for _, r := range found {
		ids = append(ids, fmt.Sprintf("%s (removed %s)", r.ID, r.RemovedAt.Format(time.RFC3339)))
	}
	return Record{}, fmt.Errorf("%d volumes in the trash were called %q; say which by id: %s: %w", len(found), nameOrID, strings.Join(ids, ", "), ballast.ErrInvalid)
}

func notFound(name string) error {
	return fmt.Errorf("no such volume %q: %w", name, ballast.ErrNotFound)
}
