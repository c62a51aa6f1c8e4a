package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Prune carries out a plan, under an exclusive lock that it waits for: the base snapshots
// of all nodes wait meanwhile. Where the repository is not as it was planned for,
// the plan is made anew. A crash, or an error, at any moment leaves a whole
// repository; what was not done is done by the next prune (A3).
func (r *Repository) Prune(ctx context.Context, p *PrunePlan, report func(Progress)) (err error) {
	lock, err := r.lock(ctx, true)
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close(context.WithoutCancel(ctx))) }()
	within, stop := lock.Context(ctx)
	defer stop()
	if p, err = r.current(within, p, report); err == nil {
		err = r.apply(within, p, report)
	}
	if err != nil {
		return fmt.Errorf("prune: %w", errors.Join(err, context.Cause(within)))
	}
	if err := r.LoadIndex(ctx); err != nil {
		return fmt.Errorf("prune: it is done, but: %w", err)
	}
	return nil
}

// current returns a plan that holds for the repository as it is now.
func (r *Repository) current(ctx context.Context, p *PrunePlan, report func(Progress)) (*PrunePlan, error) {
	now, err := r.state(ctx)
	if err != nil {
		return nil, err
	}
	if p != nil && p.seen.equal(now) {
		return p, nil
	}
	return r.plan(ctx, report)
}

// apply does what a plan says, in the order that A3 rests on.
func (r *Repository) apply(ctx context.Context, p *PrunePlan, report func(Progress)) error {
	if p.nothing() {
		return nil
	}
	if err := r.deletePacks(ctx, p.stray, "deleting what no index names", report); err != nil {
		return err
	}
	packs, err := r.rewrite(ctx, p.rewrite, report)
	if err != nil {
		return err
	}
	names, err := r.putIndex(ctx, append(packs, p.keep...))
	if err != nil {
		return err
	}
	if err := r.deleteIndexes(ctx, p.indexes, names); err != nil {
		return err
	}
	old := slices.Clone(p.remove)
	for _, w := range p.rewrite {
		old = append(old, w.file)
	}
	return r.deletePacks(ctx, old, "deleting packs", report)
}

// rewrite copies the blobs that are still needed to new packs, which it returns.
func (r *Repository) rewrite(ctx context.Context, packs []rewritten, report func(Progress)) ([]indexedPack, error) {
	c := copier{r: r}
	progress := Progress{What: "rewriting packs", Bytes: true}
	for _, w := range packs {
		progress.Total += w.size
	}
	for _, w := range packs {
		if err := c.copy(ctx, w); err != nil {
			return nil, err
		}
		progress.Done += w.size
		tell(report, progress)
	}
	return c.finish(ctx)
}

// deleteIndexes deletes old index files: what they name that is needed, the new ones
// name.
func (r *Repository) deleteIndexes(ctx context.Context, old, names []ID) error {
	if err := r.confirmLocks(ctx); err != nil {
		return err
	}
	for _, id := range old {
		if slices.Contains(names, id) {
			continue // written anew, byte for byte
		}
		if err := r.store.Delete(ctx, indexFolder+id.String()); err != nil {
			return fmt.Errorf("delete index %s: %w", id.Short(), err)
		}
	}
	return nil
}

// deletePacks deletes packs that no index names any more.
func (r *Repository) deletePacks(ctx context.Context, packs []file, what string, report func(Progress)) error {
	if err := r.confirmLocks(ctx); err != nil {
		return err
	}
	for i, f := range packs {
		if err := r.store.Delete(ctx, packFileName(f.id)); err != nil {
			return fmt.Errorf("delete %s: %w", packFileName(f.id), err)
		}
		tell(report, Progress{What: what, Done: int64(i + 1), Total: int64(len(packs))})
	}
	return nil
}

// copier copies blobs to new packs.
type copier struct {
	r    *Repository
	open [2]*packer // by Type
	done []indexedPack
}

// copy copies the needed blobs of a pack, each verified (A2): a damaged one must not
// lose the chance that its old pack has.
func (c *copier) copy(ctx context.Context, w rewritten) error {
	data, err := c.r.readPack(ctx, w.id, w.size)
	if err != nil {
		return err
	}
	for _, b := range w.blobs {
		sealed := data[b.offset : b.offset+b.length]
		plain, err := c.r.openBlob(slices.Clone(sealed), b.packBlob)
		if err != nil {
			return &DamageError{File: packFileName(w.id), What: fmt.Sprintf("%v %s in it; nothing that is needed was deleted", b.typ, b.id.Short()), Err: err}
		}
		blob := b.packBlob
		if b.typ == TreeBlob && b.plain == 0 {
			blob, sealed = c.r.seal(nil, TreeBlob, b.id, plain)
		}
		if err := c.add(ctx, blob, sealed); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) add(ctx context.Context, b packBlob, sealed []byte) error {
	p := c.open[b.typ]
	if p == nil {
		p = &packer{}
		c.open[b.typ] = p
	}
	p.add(b, sealed)
	if !p.full(c.r.target) {
		return nil
	}
	return c.put(ctx, b.typ)
}

func (c *copier) put(ctx context.Context, t Type) error {
	p := c.open[t]
	c.open[t] = nil
	pack, err := c.r.putPack(ctx, p)
	if err != nil {
		return err
	}
	c.done = append(c.done, pack)
	return nil
}

// finish makes the last packs durable, and returns all.
func (c *copier) finish(ctx context.Context) ([]indexedPack, error) {
	for t, p := range c.open {
		if p == nil {
			continue
		}
		if err := c.put(ctx, Type(t)); err != nil {
			return nil, err
		}
	}
	return c.done, nil
}
