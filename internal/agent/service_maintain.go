package agent

import (
	"context"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archiver"
)

func (s archiveService) Check(ctx context.Context, r *connect.Request[v1.CheckArchiveRequest], out *connect.ServerStream[v1.CheckArchiveResponse]) error {
	if !s.node.cfg.archives() {
		return apiError(errNoArchive)
	}
	o, err := s.node.vault.Wait(ctx)
	if err != nil {
		return apiError(err)
	}
	t := &teller{send: func(p *v1.Progress) error { return out.Send(&v1.CheckArchiveResponse{Progress: p}) }}
	problems := uint32(0)
	problem := func(text string) {
		problems++
		_ = t.also(func() error { return out.Send(&v1.CheckArchiveResponse{Problem: text}) }) // the caller has gone, and its context tells
	}
	tell := func(p repository.Progress) { t.tell(p.What, unitOf(p), p.Done, p.Total) }
	err = o.Repo.Check(ctx, r.Msg.GetReadData(), tell, func(err error) { problem(err.Error()) })
	if err == nil {
		err = archiver.CheckTails(ctx, o, r.Msg.GetReadData(), tell, problem)
	}
	if err != nil {
		return apiError(joinCause(ctx, err))
	}
	return t.also(func() error { return out.Send(&v1.CheckArchiveResponse{Done: true, Problems: problems}) })
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
