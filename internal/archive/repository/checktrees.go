package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
)

// checkTrees walks everything that snapshots refer to.
func (c *checker) checkTrees(ctx context.Context, snapshots []Snapshot) error {
	progress := Progress{What: "reading trees"}
	w := walk{r: c.r, seen: map[ID]bool{}, visit: func(id ID, t Tree, err error) error {
		progress.Done++
		tell(c.report, progress)
		return c.visitTree(id, t, err)
	}}
	return w.trees(ctx, rootsOf(snapshots))
}

// visitTree takes note of everything that is wrong with a tree itself.
func (c *checker) visitTree(id ID, t Tree, err error) error {
	if err != nil && !isLoss(err) {
		return err
	}
	if err != nil {
		c.blame(id, c.treeProblem(id, err)...)
		return nil
	}
	numbers, _ := c.blobProblems(blobID{TreeBlob, id}) // it was read, from a pack that is not whole
	c.blame(id, numbers...)
	for _, n := range t.Nodes {
		missing := 0
		for _, blob := range n.Content {
			numbers, there := c.blobProblems(blobID{DataBlob, blob})
			if !there {
				missing++
			}
			c.blame(id, numbers...)
		}
		if missing > 0 {
			c.blame(id, c.add(adviceLost, "file %q in tree %s: the index does not name %d of its %d blobs", n.Name, id.Short(), missing, len(n.Content)))
		}
	}
	return nil
}

// isLoss reports whether an error is about what is in the repository, or is not in
// it, rather than about reaching it.
func isLoss(err error) bool {
	return isDamage(err) || errors.Is(err, ballast.ErrNotFound) || errors.Is(err, ballast.ErrInvalid)
}

// treeProblem returns the numbers of the problems that make a tree unreadable.
func (c *checker) treeProblem(id ID, err error) []int {
	if numbers, there := c.blobProblems(blobID{TreeBlob, id}); there && len(numbers) > 0 {
		return numbers
	}
	return []int{c.add(adviceLost, "%v", fmt.Errorf("tree %s cannot be read: %w", id.Short(), err))}
}

// blobProblems returns the numbers of the problems of a blob of which no place is
// good, and whether the index names any.
func (c *checker) blobProblems(b blobID) (numbers []int, there bool) {
	places := c.r.index.locate(b)
	for _, at := range places {
		n, bad := c.badPack[at.pack]
		if !bad {
			n, bad = c.badBlob[badBlob{at.pack, b.id}]
		}
		if !bad {
			return nil, true
		}
		numbers = append(numbers, n)
	}
	return numbers, len(places) > 0
}

// blame takes note that a tree has problems.
func (c *checker) blame(tree ID, numbers ...int) {
	if len(numbers) == 0 {
		return
	}
	if c.badTree[tree] == nil {
		c.badTree[tree] = map[int]bool{}
	}
	for _, n := range numbers {
		c.badTree[tree][n] = true
	}
}

// attribute finds the snapshots that problems touch. It takes another walk for each
// snapshot, but only when there is something to tell.
func (c *checker) attribute(ctx context.Context, snapshots []Snapshot) error {
	if len(c.badTree) == 0 {
		return nil
	}
	for _, s := range snapshots {
		touched := map[int]bool{}
		w := walk{r: c.r, seen: map[ID]bool{}, visit: func(id ID, _ Tree, err error) error {
			if err != nil && !isLoss(err) {
				return err
			}
			for n := range c.badTree[id] {
				touched[n] = true
			}
			return nil
		}}
		if err := w.trees(ctx, []ID{s.Tree}); err != nil {
			return err
		}
		for n := range touched {
			c.problems[n].Snapshots = append(c.problems[n].Snapshots, s.ID)
		}
	}
	return nil
}

func rootsOf(snapshots []Snapshot) (ids []ID) {
	for _, s := range snapshots {
		ids = append(ids, s.Tree)
	}
	return ids
}
