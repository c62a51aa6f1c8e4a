package repository

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
)

// Limits of walking trees (A5).
const (
	walkDepth    = 1000
	walkGroup    = 64 // trees in memory at once, of each depth
	walkParallel = 8  // reads at once: a store answers slowly, and many at a time
)

// walk visits trees and what is below them, each once.
type walk struct {
	r    *Repository
	seen map[ID]bool
	// visit gets every tree, or the reason why it cannot be had, in which case the
	// walk goes on without it. An error ends the walk.
	visit func(id ID, t Tree, err error) error
}

// trees walks from roots on.
func (w *walk) trees(ctx context.Context, roots []ID) error { return w.level(ctx, roots, 0) }

func (w *walk) level(ctx context.Context, ids []ID, depth int) error {
	if depth > walkDepth {
		return fmt.Errorf("walk trees: %w: folders are nested more than %d deep", ballast.ErrInvalid, walkDepth)
	}
	var group []ID
	for _, id := range ids {
		if w.seen[id] {
			continue
		}
		w.seen[id] = true
		if group = append(group, id); len(group) == walkGroup {
			if err := w.group(ctx, group, depth); err != nil {
				return err
			}
			group = group[:0]
		}
	}
	return w.group(ctx, group, depth)
}

// group reads some trees at once, visits them, and goes below.
func (w *walk) group(ctx context.Context, ids []ID, depth int) error {
	trees, errs := make([]Tree, len(ids)), make([]error, len(ids))
	var load errgroup.Group
	load.SetLimit(walkParallel)
	for i, id := range ids {
		load.Go(func() error {
			trees[i], errs[i] = w.r.loadTree(ctx, id)
			return nil
		})
	}
	_ = load.Wait() // no function returns an error
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := w.visit(id, trees[i], errs[i]); err != nil {
			return err
		}
		if err := w.level(ctx, subtrees(trees[i]), depth+1); err != nil {
			return err
		}
		trees[i] = Tree{} // its memory is wanted
	}
	return nil
}

// loadTree reads and decodes a tree.
func (r *Repository) loadTree(ctx context.Context, id ID) (Tree, error) {
	data, err := r.LoadBlob(ctx, TreeBlob, id)
	if err != nil {
		return Tree{}, err
	}
	t, err := DecodeTree(data)
	if err != nil {
		return Tree{}, fmt.Errorf("tree %s: %w", id.Short(), err)
	}
	return t, nil
}

func subtrees(t Tree) (ids []ID) {
	for _, n := range t.Nodes {
		if n.Subtree != nil {
			ids = append(ids, *n.Subtree)
		}
	}
	return ids
}
