package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Progress is how far a long piece of work has come.
type Progress struct {
	What        string // is being done
	Done, Total int64  // Total is 0 where it is not known
	Bytes       bool   // the two count bytes, not pieces
}

// checkParallel packs are read at once; each is in memory.
const checkParallel = 2

// A Problem is damage that a check found, in words for people.
type Problem struct {
	What      string // is damaged, and how
	Snapshots []ID   // may not be restored whole
	Advice    string // what to do, and to type
}

// Error says all of it.
func (p *Problem) Error() string {
	var touched []string
	for _, id := range p.Snapshots {
		touched = append(touched, id.Short())
	}
	where := "it touches no snapshot"
	if len(touched) > 0 {
		where = "it touches snapshots " + strings.Join(touched, ", ")
	}
	return p.What + "; " + where + "; " + p.Advice
}

// What to do about damage.
const (
	adviceIndex    = "type: restic rebuild-index (stock restic reads the packs anew), then check again"
	adviceLost     = "type: restic rebuild-index (the lost data leave the index), then: ballast volume snapshot VOLUME (what the volume still has is stored anew)"
	adviceSnapshot = "its point in time is lost; the others do not need it; to remove it, delete the file"
	adviceNothing  = "the next prune puts it right: ballast archive prune"
)

// checker is one run of Check.
type checker struct {
	r      *Repository // of which nothing was read before
	report func(Progress)
	packs  map[ID][]placedBlob // that the index names

	mu       sync.Mutex // guards everything below
	problems []*Problem
	badPack  map[ID]int          // number of the problem with a whole pack
	badBlob  map[badBlob]int     // or with a blob in it
	badTree  map[ID]map[int]bool // problems that a tree has itself
}

type badBlob struct {
	pack, blob ID
}

// Check verifies the repository as stock restic does: the index can be read, names
// packs that are there and of the size they must have, and everything that every
// snapshot refers to; with readData also every byte of every pack. Each
// problem is a [*Problem], passed to problem, one after another. An error
// means that the check did not come to its end.
//
// Writers go on meanwhile; prune waits.
func (r *Repository) Check(ctx context.Context, readData bool, report func(Progress), problem func(error)) (err error) {
	lock, err := r.lock(ctx, false)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close(context.WithoutCancel(ctx))) }()
	ctx, stop := lock.Context(ctx)
	defer stop()
	c := &checker{r: r.fresh(), report: report, badPack: map[ID]int{}, badBlob: map[badBlob]int{}, badTree: map[ID]map[int]bool{}}
	if err := c.run(ctx, readData); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	for _, p := range c.problems {
		problem(p)
	}
	return nil
}

// run looks at snapshots before the index, and at the index before packs: what is
// written meanwhile is written in the other order.
func (c *checker) run(ctx context.Context, readData bool) error {
	snapshots, bad, err := c.r.readSnapshots(ctx)
	if err != nil {
		return err
	}
	c.damages(bad, adviceSnapshot)
	if bad, err = c.r.readIndex(ctx); err != nil {
		return err
	}
	c.damages(bad, adviceIndex)
	c.packs = c.r.index.contents()
	if err := c.checkPacks(ctx, readData); err != nil {
		return err
	}
	if err := c.checkTrees(ctx, snapshots); err != nil {
		return err
	}
	return c.attribute(ctx, snapshots)
}

// add takes note of a problem, and returns its number.
func (c *checker) add(advice, format string, args ...any) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, &Problem{What: fmt.Sprintf(format, args...), Advice: advice})
	return len(c.problems) - 1
}

// damages takes note of files that cannot be read.
func (c *checker) damages(bad []error, advice string) {
	for _, err := range bad {
		c.add(advice, "%v", err)
	}
}

// checkPacks compares the packs with the index.
func (c *checker) checkPacks(ctx context.Context, readData bool) error {
	sizes, err := c.r.packFiles(ctx)
	if err != nil {
		return err
	}
	var whole []ID
	for _, id := range sortedIDs(c.packs) {
		if c.checkPack(id, sizes) {
			whole = append(whole, id)
		}
	}
	if !readData {
		return nil
	}
	return c.readPacks(ctx, whole, sizes)
}

// checkPack looks at a pack from outside, and reports whether it is worth reading.
func (c *checker) checkPack(id ID, sizes map[ID]int64) bool {
	name, blobs := packFileName(id), c.packs[id]
	size, there := sizes[id]
	switch want := packSize(blobs); {
	case !there:
		c.badPack[id] = c.add(adviceLost, "%s is missing, and %d blobs with it", name, len(blobs))
	case size != want:
		c.badPack[id] = c.add(adviceLost, "%s has %d bytes; by the index, it has %d", name, size, want)
	case !contiguous(blobs):
		c.badPack[id] = c.add(adviceIndex, "%s: by the index, its blobs do not follow one another", name)
	default:
		if isMixed(blobs) {
			c.add(adviceNothing, "%s has both data and trees", name)
		}
		return true
	}
	return false
}

// contiguous reports whether blobs follow one another without gaps.
func contiguous(blobs []placedBlob) bool {
	offset := uint32(0)
	for _, b := range blobs {
		if b.offset != offset {
			return false
		}
		offset += b.length
	}
	return true
}

func isMixed(blobs []placedBlob) bool {
	return slices.ContainsFunc(blobs, func(b placedBlob) bool { return b.typ != blobs[0].typ })
}

// readPacks reads every byte of packs.
func (c *checker) readPacks(ctx context.Context, ids []ID, sizes map[ID]int64) error {
	progress := Progress{What: "reading packs", Bytes: true}
	for _, id := range ids {
		progress.Total += sizes[id]
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkParallel)
	for _, id := range ids {
		group.Go(func() error {
			data, err := c.r.readPack(ctx, id, sizes[id])
			if err != nil && !isDamage(err) {
				return err
			}
			c.verify(id, data, err)
			c.mu.Lock()
			defer c.mu.Unlock()
			progress.Done += sizes[id]
			tell(c.report, progress)
			return nil
		})
	}
	return group.Wait()
}

// verify checks a pack that was read, and then each of its blobs.
func (c *checker) verify(id ID, data []byte, err error) {
	name := packFileName(id)
	if err == nil {
		err = c.r.verifyPack(id, data, c.packs[id])
	}
	if err == nil {
		err = c.verifyBlobs(id, data)
	}
	if err == nil {
		return
	}
	// The blobs that are whole in spite of it are found one by one.
	n := c.add(adviceLost, "%s is damaged: %v", name, err)
	for _, b := range c.packs[id] {
		if end := int64(b.offset) + int64(b.length); end <= int64(len(data)) {
			if _, err := c.r.openBlob(slices.Clone(data[b.offset:end]), b.packBlob); err == nil {
				continue
			}
		}
		c.mu.Lock()
		c.badBlob[badBlob{id, b.id}] = n
		c.mu.Unlock()
	}
}

func (c *checker) verifyBlobs(id ID, data []byte) error {
	for _, b := range c.packs[id] {
		if _, err := c.r.openBlob(slices.Clone(data[b.offset:b.offset+b.length]), b.packBlob); err != nil {
			return fmt.Errorf("%v %s: %w", b.typ, b.id.Short(), err)
		}
	}
	return nil
}

// tell reports progress to whoever wants to know.
func tell(report func(Progress), p Progress) {
	if report != nil {
		report(p)
	}
}

func sortedIDs[V any](m map[ID]V) []ID {
	ids := make([]ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	return ids
}
