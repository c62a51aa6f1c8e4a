package agent

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
)

func (s archiveService) Check(ctx context.Context, r *connect.Request[v1.CheckArchiveRequest], out *connect.ServerStream[v1.CheckArchiveResponse]) error {
	if !s.node.cfg.archives() {
		return apiError(errNoArchive)
	}
	o, err := s.node.vault.wait(ctx)
	if err != nil {
		return apiError(err)
	}
	t := &teller{send: func(p *v1.Progress) error { return out.Send(&v1.CheckArchiveResponse{Progress: p}) }}
	problems := uint32(0)
	problem := func(text string) {
		problems++
		_ = t.also(func() error { return out.Send(&v1.CheckArchiveResponse{Problem: text}) }) // the caller has gone, and its context tells
	}
	err = o.repo.Check(ctx, r.Msg.GetReadData(), func(p repository.Progress) { t.tell(p.What, unitOf(p), p.Done, p.Total) }, func(err error) { problem(err.Error()) })
	if err == nil {
		err = checkTails(ctx, o, r.Msg.GetReadData(), t, problem)
	}
	if err != nil {
		return apiError(joinCause(ctx, err))
	}
	return t.also(func() error { return out.Send(&v1.CheckArchiveResponse{Done: true, Problems: problems}) })
}

// checkTails checks what the repository knows nothing of: that the tails are whole and
// lead on from the base snapshots; with readData, every byte behind the last one.
func checkTails(ctx context.Context, o *opened, readData bool, t *teller, problem func(string)) error {
	found, err := o.archive.Volumes(ctx)
	if err != nil {
		return err
	}
	for i, f := range found {
		t.tell("checking the tail of "+f.Name, inPieces, int64(i), int64(len(found)))
		h, err := o.archive.History(ctx, f.ID)
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
			if err := readNewest(ctx, o, h, t); err != nil {
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
func readNewest(ctx context.Context, o *opened, h *archive.History, t *teller) error {
	at, ok := h.Newest()
	if !ok {
		return nil // said by Problems
	}
	plan, err := h.Plan(archive.When{Exactly: &at})
	if err != nil {
		return err
	}
	src, err := o.archive.Source(ctx, plan, nil)
	if err != nil {
		return err
	}
	return src.Stream(ctx, func(int, []byte) error { return nil }, func(p archive.Progress) { t.tell("reading "+h.Name, inBytes, p.Done, p.Total) })
}

func (s archiveService) Prune(ctx context.Context, r *connect.Request[v1.PruneRequest], out *connect.ServerStream[v1.PruneResponse]) error {
	repo, err := s.repository(ctx)
	if err != nil {
		return apiError(err)
	}
	plan, err := repo.PlanPrune(ctx)
	if err != nil {
		return apiError(joinCause(ctx, err))
	}
	if err := out.Send(&v1.PruneResponse{Plan: plan.Lines(), Done: !r.Msg.GetApply()}); err != nil || !r.Msg.GetApply() {
		return err
	}
	t := &teller{send: func(p *v1.Progress) error { return out.Send(&v1.PruneResponse{Progress: p}) }}
	if err := repo.Prune(ctx, plan, func(p repository.Progress) { t.tell(p.What, unitOf(p), p.Done, p.Total) }); err != nil {
		return apiError(joinCause(ctx, err))
	}
	s.node.log.Info("pruned the archive", "freed_bytes", plan.Frees())
	return t.also(func() error { return out.Send(&v1.PruneResponse{Done: true, FreedBytes: uint64(max(0, plan.Frees()))}) })
}
