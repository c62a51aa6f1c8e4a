package archiver

import (
	"context"
	"fmt"

	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
)

// CheckTails checks what the repository knows nothing of: that the tails are whole and
// lead on from the base snapshots; with readData, every byte behind the last one.
func CheckTails(ctx context.Context, o *Opened, readData bool, tell func(repository.Progress), problem func(string)) error {
	found, err := o.Archive.Volumes(ctx)
	if err != nil {
		return err
	}
	for i, f := range found {
		tell(repository.Progress{What: "checking the tail of " + f.Name, Done: int64(i), Total: int64(len(found))})
		h, err := o.Archive.History(ctx, f.ID)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			problem(fmt.Sprintf("the history of volume %q cannot be read: %v", f.Name, err))
			continue
		}
		for _, p := range h.Problems {
			problem(fmt.Sprintf("volume %q: %s", f.Name, p))
		}
		if readData {
			if err := readNewest(ctx, o, h, tell); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				problem(fmt.Sprintf("volume %q cannot be restored to its newest point: %v", f.Name, err))
			}
		}
	}
	return nil
}

// readNewest reads a volume at its newest point that can be restored.
func readNewest(ctx context.Context, o *Opened, h *archive.History, tell func(repository.Progress)) error {
	at, ok := h.Newest()
	if !ok {
		return nil // said by Problems
	}
	plan, err := h.Plan(archive.When{Exactly: &at})
	if err != nil {
		return err
	}
	src, err := o.Archive.Source(ctx, plan, nil)
	if err != nil {
		return err
	}
	return src.Stream(ctx, func(int, []byte) error { return nil }, func(p archive.Progress) {
		tell(repository.Progress{What: "reading " + h.Name, Bytes: true, Done: p.Done, Total: p.Total})
	})
}
