package cluster

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
)

// DecideChange changes the in-sync set as the leader of an epoch asks, over the very
// revision that the leader decided on: its outcome can stay unknown, and then only a
// later revision says that it will never be made. What it tells of its branch is kept for those
// that are removed. It is [ballast.ErrInUse] when that
// epoch or revision is over, and [ballast.ErrTooFewCopies] when too few would be left (C9).
func DecideChange(r Record, c replica.Change, b replica.Branch) (Record, error) {
	next, err := decideChange(r, c)
	if err == nil && b.Epoch == r.Epoch && b.Valid() {
		next.Branch = b
	}
	return next, err
}

func decideChange(r Record, c replica.Change) (Record, error) {
	if r.Primary == "" || r.Epoch != c.Epoch {
		return r, fmt.Errorf("volume %q: %v is over, the record is at %v: %w", r.Name, c.Epoch, r.Epoch, ballast.ErrInUse)
	}
	switch {
	case c.Revision != r.Revision && !seeded(changeAnyRevision):
		return r, fmt.Errorf("volume %q: the record was changed meanwhile, to revision %d; decide again: %w", r.Name, r.Revision, ballast.ErrInUse)
	case (c.Add == "") == (c.Remove == ""):
		return r, fmt.Errorf("volume %q: a change adds one copy or removes one: %w", r.Name, ballast.ErrInvalid)
	case c.Add != "":
		return addInSync(r, c.Add)
	case c.Remove == r.Primary:
		return r, fmt.Errorf("volume %q: the copy of the primary, node %s, counts as long as it leads: %w", r.Name, c.Remove, ballast.ErrInvalid)
	}
	if c.Lost {
		return removeInSync(r, c.Remove, 1)
	}
	return removeInSync(r, c.Remove, r.Spec.CopiesNeeded())
}

func addInSync(r Record, node ballast.NodeID) (Record, error) {
	if slices.Contains(r.InSync, node) {
		return r, ErrUnchanged
	}
	if !slices.Contains(r.Copies, node) {
		return r, fmt.Errorf("volume %q: there is to be no copy on node %s: %w", r.Name, node, ballast.ErrInvalid)
	}
	r.InSync = withNodes(r.InSync, node)
	return r, nil
}

// removeInSync leaves so many at least.
func removeInSync(r Record, node ballast.NodeID, least int) (Record, error) {
	if !slices.Contains(r.InSync, node) {
		return r, ErrUnchanged
	}
	if len(r.InSync)-1 < least {
		return r, fmt.Errorf("volume %q: without the copy on node %s fewer than %d would be in sync: %w", r.Name, node, least, ballast.ErrTooFewCopies)
	}
	r.InSync = withoutNode(r.InSync, node)
	return r, nil
}

// CopiesChange is which copies there are to be, as placement decides: one of the
// two is set.
type CopiesChange struct {
	Add  ballast.NodeID // is to hold a copy; it counts once its leader has added it
	Drop ballast.NodeID // is to hold none any more
}

// DecideCopies changes which nodes hold a copy. One that counts may go when enough
// others count (C9): its leader requires it until it has read so, which is safe. The
// primary's stays.
func DecideCopies(r Record, c CopiesChange) (Record, error) {
	if r.InTrash() {
		return r, notFound(r.Name)
	}
	switch {
	case (c.Add == "") == (c.Drop == ""):
		return r, fmt.Errorf("volume %q: a change adds one copy or drops one: %w", r.Name, ballast.ErrInvalid)
	case c.Add != "":
		return addCopy(r, c.Add)
	}
	return dropCopy(r, c.Drop)
}

func addCopy(r Record, node ballast.NodeID) (Record, error) {
	if slices.Contains(r.Copies, node) {
		return r, ErrUnchanged
	}
	if len(r.Copies) >= maxNodes {
		return r, fmt.Errorf("volume %q: there are %d copies already: %w", r.Name, len(r.Copies), ballast.ErrInvalid)
	}
	r.Copies = withNodes(r.Copies, node)
	r.Added = maps.Clone(r.Added)
	if r.Added == nil {
		r.Added = map[ballast.NodeID]int64{}
	}
	r.Added[node] = r.Revision
	return r, nil
}

func dropCopy(r Record, node ballast.NodeID) (Record, error) {
	if !slices.Contains(r.Copies, node) {
		return r, ErrUnchanged
	}
	if node == r.Primary {
		return r, fmt.Errorf("volume %q: node %s holds it; move or detach it first: %w", r.Name, node, ballast.ErrInUse)
	}
	next, err := removeInSync(r, node, r.Spec.CopiesNeeded())
	if err != nil && next.counts(node) {
		return r, err
	}
	next.Copies = withoutNode(r.Copies, node)
	next.Added = maps.Clone(r.Added)
	delete(next.Added, node)
	return next, nil
}

func (r Record) counts(node ballast.NodeID) bool { return slices.Contains(r.InSync, node) }
