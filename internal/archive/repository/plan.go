package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// When packs are rewritten.
const (
	maxUnusedPercent = 5  // of what is kept may be of no use
	enoughSmall      = 10 // packs of one type that are half full at most are put together
)

// PrunePlan is what a prune will do. It holds for the repository as it was seen: one
// that changed since is planned anew.
type PrunePlan struct {
	seen      state
	small     int64 // bytes of a pack that is half full
	snapshots int
	used      int64 // bytes in packs that snapshots refer to
	kept      int64 // bytes of packs that stay
	unused    int64 // of those

	keep    []indexedPack
	rewrite []rewritten
	remove  []file // packs that no snapshot needs
	stray   []file // packs that no index names
	missing int    // packs that no snapshot needs, and the index names
	indexes []ID   // that are replaced; all of them, or none
}

// rewritten is a pack of which some blobs are copied to another.
type rewritten struct {
	file
	blobs []placedBlob // that are still needed
	all   []placedBlob
}

// state is which files a repository has. They never change, so the same names mean the
// same repository.
type state struct {
	snapshots, indexes map[ID]bool
	packs              map[ID]int64
}

func (s state) equal(t state) bool {
	return maps.Equal(s.snapshots, t.snapshots) && maps.Equal(s.indexes, t.indexes) && maps.Equal(s.packs, t.packs)
}

// PlanPrune finds out what no snapshot refers to. It changes nothing. It fails where
// something is missing or damaged that a snapshot may refer to: deleting beside
// damage would make it worse.
func (r *Repository) PlanPrune(ctx context.Context) (_ *PrunePlan, err error) {
	lock, err := r.lock(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("plan prune: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close(context.WithoutCancel(ctx))) }()
	ctx, stop := lock.Context(ctx)
	defer stop()
	p, err := r.plan(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("plan prune: %w", err)
	}
	return p, nil
}

// plan makes a plan under a lock that the caller holds.
func (r *Repository) plan(ctx context.Context, report func(Progress)) (*PrunePlan, error) {
	fresh := r.fresh()
	snapshots, bad, err := fresh.readSnapshots(ctx)
	if err = errors.Join(append(bad, err)...); err != nil {
		return nil, fmt.Errorf("%w; nothing was deleted: a snapshot that cannot be read may need anything", err)
	}
	if err := fresh.LoadIndex(ctx); err != nil {
		return nil, fmt.Errorf("%w; nothing was deleted: without a whole index, what is needed may look like what is not", err)
	}
	used, err := fresh.usedBlobs(ctx, snapshots, report)
	if err != nil {
		return nil, fmt.Errorf("%w; nothing was deleted: type ballast archive check", err)
	}
	seen, err := fresh.state(ctx)
	if err != nil {
		return nil, err
	}
	p := &PrunePlan{seen: seen, small: int64(r.target / 2), snapshots: len(snapshots), indexes: sortedIDs(seen.indexes)}
	if err := p.sort(fresh.index.contents(), used); err != nil {
		return nil, fmt.Errorf("%w; nothing was deleted: type ballast archive check", err)
	}
	return p, nil
}

// state lists what the repository has.
func (r *Repository) state(ctx context.Context) (s state, err error) {
	s = state{snapshots: map[ID]bool{}, indexes: map[ID]bool{}}
	for folder, ids := range map[string]map[ID]bool{snapsFolder: s.snapshots, indexFolder: s.indexes} {
		files, err := list(ctx, r.store, folder)
		if err != nil {
			return state{}, err
		}
		for _, f := range files {
			ids[f.id] = true
		}
	}
	s.packs, err = r.packFiles(ctx)
	return s, err
}

// usedBlobs returns what snapshots refer to, all of which the index names.
func (r *Repository) usedBlobs(ctx context.Context, snapshots []Snapshot, report func(Progress)) (map[blobID]bool, error) {
	used := map[blobID]bool{}
	progress := Progress{What: "reading trees"}
	w := walk{r: r, seen: map[ID]bool{}, visit: func(id ID, t Tree, err error) error {
		progress.Done++
		tell(report, progress)
		if err != nil {
			return err
		}
		used[blobID{TreeBlob, id}] = true
		for _, n := range t.Nodes {
			for _, blob := range n.Content {
				used[blobID{DataBlob, blob}] = true
			}
		}
		return nil
	}}
	if err := w.trees(ctx, rootsOf(snapshots)); err != nil {
		return nil, err
	}
	for b := range used {
		if !r.index.has(b) {
			return nil, fmt.Errorf("%v %s: a snapshot needs it, and the index does not name it", b.typ, b.id)
		}
	}
	return used, nil
}

// sort decides about every pack.
func (p *PrunePlan) sort(packs map[ID][]placedBlob, used map[blobID]bool) error {
	for _, id := range sortedIDs(p.seen.packs) {
		if _, named := packs[id]; !named {
			p.stray = append(p.stray, file{id, p.seen.packs[id]})
		}
	}
	var partly []rewritten
	for _, pack := range assign(packs, used) {
		size, there := p.seen.packs[pack.id]
		pack.size = size
		switch {
		case len(pack.blobs) == 0 && there:
			p.remove = append(p.remove, pack.file)
		case len(pack.blobs) == 0:
			p.missing++ // it leaves the index
		case !there:
			return fmt.Errorf("%s is missing, and a snapshot needs it", packFileName(pack.id))
		case size != packSize(pack.all):
			return fmt.Errorf("%s has %d bytes; by the index, it has %d", packFileName(pack.id), size, packSize(pack.all))
		default:
			p.used += packSize(pack.blobs)
			partly = append(partly, pack)
		}
	}
	p.choose(partly)
	if p.nothing() {
		p.indexes = nil
	}
	return nil
}

// assign gives every used blob to one of the packs that have it: the one that has most
// of use.
func assign(packs map[ID][]placedBlob, used map[blobID]bool) []rewritten {
	all := make([]rewritten, 0, len(packs))
	worth := make(map[ID]int64, len(packs))
	for _, id := range sortedIDs(packs) {
		all = append(all, rewritten{file: file{id: id}, all: packs[id]})
		for _, b := range packs[id] {
			if used[blobID{b.typ, b.id}] {
				worth[id] += int64(b.length)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b rewritten) int { return cmp.Compare(worth[b.id], worth[a.id]) })
	given := make(map[blobID]bool, len(used))
	for i := range all {
		for _, b := range all[i].all {
			key := blobID{b.typ, b.id}
			if used[key] && !given[key] {
				given[key] = true
				all[i].blobs = append(all[i].blobs, b)
			}
		}
	}
	return all
}

// unused bytes of a pack.
func (w *rewritten) unused() int64 { return packSize(w.all) - packSize(w.blobs) }

// must reports whether a pack is not to stay as it is, whatever it costs: it mixes
// types, or has trees as version 1 wrote them.
func (w *rewritten) must() bool {
	return isMixed(w.all) || slices.ContainsFunc(w.all, func(b placedBlob) bool {
		return b.typ == TreeBlob && b.plain == 0 && b.length > Overhead
	})
}

// choose decides which packs in use are rewritten: those that must be, many small ones,
// and then the worst until little enough of what is kept is of no use.
func (p *PrunePlan) choose(packs []rewritten) {
	small := [2]int{}
	for i := range packs {
		if packs[i].size < p.small {
			small[packs[i].all[0].typ]++
		}
	}
	var rest []rewritten
	for i := range packs {
		w := &packs[i]
		if w.must() || (w.size < p.small && small[w.all[0].typ] >= enoughSmall) {
			p.rewrite = append(p.rewrite, *w)
			continue
		}
		p.kept, p.unused = p.kept+w.size, p.unused+w.unused()
		rest = append(rest, *w)
	}
	slices.SortStableFunc(rest, func(a, b rewritten) int {
		return cmp.Compare(float64(b.unused())/float64(b.size), float64(a.unused())/float64(a.size))
	})
	for _, w := range rest {
		if w.unused() > 0 && 100*p.unused > maxUnusedPercent*p.kept {
			p.kept, p.unused = p.kept-w.size, p.unused-w.unused()
			p.rewrite = append(p.rewrite, w)
			continue
		}
		p.keep = append(p.keep, indexedPack{w.id, w.all})
	}
}

// nothing reports whether there is nothing to do.
func (p *PrunePlan) nothing() bool {
	blobs := 0
	for _, k := range p.keep {
		blobs += len(k.blobs)
	}
	fewest := 1 + blobs/maxIndexBlobs
	tidy := len(p.seen.indexes) < 2*fewest+enoughSmall
	return tidy && p.missing == 0 && len(p.rewrite) == 0 && len(p.remove) == 0 && len(p.stray) == 0
}
