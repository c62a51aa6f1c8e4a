package agent

import (
	"cmp"
	"context"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/archiver/verify"
	"github.com/ballast-io/ballast/internal/cluster"
)

// The calls of volumeService that are about the archive.

func (s volumeService) Snapshot(ctx context.Context, r *connect.Request[v1.SnapshotRequest], out *connect.ServerStream[v1.SnapshotResponse]) error {
	switch at, err := s.node.readBy(ctx, r.Msg.GetName()); {
	case err != nil:
		return apiError(err)
	case at != "":
		return passOnStream(ctx, at, s.node.volumesAt(at).Snapshot, r.Msg, out)
	}
	t := &teller{send: func(p *v1.Progress) error { return out.Send(&v1.SnapshotResponse{Progress: p}) }}
	base, err := s.node.Snapshot(ctx, r.Msg.GetName(), r.Msg.GetTags(), func(p archive.Progress) { t.tell("reading the volume", inBytes, p.Done, p.Total) })
	if err != nil {
		return apiError(err)
	}
	return t.also(func() error { return out.Send(&v1.SnapshotResponse{Snapshot: baseMessage(base)}) })
}

func (s volumeService) History(ctx context.Context, r *connect.Request[v1.HistoryRequest]) (*connect.Response[v1.HistoryResponse], error) {
	rec, o, err := s.node.archived(ctx, r.Msg.GetName())
	if err != nil {
		return nil, apiError(err)
	}
	h, err := o.Archive.History(ctx, rec.ID)
	if err != nil {
		return nil, apiError(err)
	}
	resp := &v1.HistoryResponse{Problems: h.Problems, Retention: s.node.keeper.KeepOf(rec.Spec)}
	for i := range h.Bases {
		resp.Snapshots = append(resp.Snapshots, baseMessage(&h.Bases[i]))
	}
	for _, w := range h.Windows() {
		resp.AnySecond = append(resp.AnySecond, &v1.Window{From: timestamppb.New(w.From), Until: timestamppb.New(w.Until)})
	}
	return connect.NewResponse(resp), nil
}

func (s volumeService) RestoreAt(ctx context.Context, r *connect.Request[v1.RestoreAtRequest]) (*connect.Response[v1.RestoreAtResponse], error) {
	m := r.Msg
	if m.GetArchive() != "" {
		return nil, apiError(fmt.Errorf("restore volume %q: another archive than the node's cannot be named: %w", m.GetName(), ballast.ErrInvalid))
	}
	req := restoreRequest{name: m.GetName(), as: m.GetAs(), inPlace: m.GetInPlace(), dryRun: m.GetDryRun(), moment: moment{snapshot: m.GetSnapshot()}}
	if m.GetAt() != nil {
		req.moment.at = m.GetAt().AsTime()
	}
	if req.moment.snapshot != "" && m.GetAt() != nil {
		return nil, apiError(fmt.Errorf("restore volume %q: give a time or a snapshot, not both: %w", req.name, ballast.ErrInvalid))
	}
	switch at, err := s.node.restoredBy(ctx, req.name, req.moment, req.inPlace); {
	case err != nil:
		return nil, apiError(err)
	case at != "":
		here := false
		if !req.inPlace && !req.dryRun {
			if req.moment, here, err = s.node.nowOf(ctx, at, req.name, req.as); err != nil {
				return nil, err
			}
		}
		if !here {
			return passOn(ctx, at, s.node.volumesAt(at).RestoreAt, m)
		}
	}
	out, err := s.node.RestoreAt(ctx, req)
	if err != nil {
		return nil, apiError(err)
	}
	resp := &v1.RestoreAtResponse{Point: pointMessage(out.point), Plan: out.plan, FetchBytes: uint64(out.bytes)}
	if !req.dryRun {
		resp.Volume = volumeMessage(out.volume)
	}
	return connect.NewResponse(resp), nil
}

func (s volumeService) Verify(ctx context.Context, r *connect.Request[v1.VerifyRequest], out *connect.ServerStream[v1.VerifyResponse]) error {
	var records []cluster.Record
	if name := r.Msg.GetName(); name != "" {
		rec, _, err := s.node.archived(ctx, name)
		if err != nil {
			return apiError(fmt.Errorf("verify volume: %w", err))
		}
		records = []cluster.Record{rec}
	} else {
		if !s.node.cfg.archives() {
			return apiError(errNoArchive)
		}
		for _, rec := range s.node.records.List() {
			if archiver.Keeps(rec.Spec.Class) {
				records = append(records, rec)
			}
		}
	}
	t := &teller{send: func(p *v1.Progress) error { return out.Send(&v1.VerifyResponse{Progress: p}) }}
	for _, rec := range records {
		if at, err := s.node.doneBy(ctx, rec.Name); at != "" && err == nil { // where the holder is away, the archive has what there is
			if err := s.node.verifyElsewhere(ctx, at, rec, r.Msg.GetCommand(), func(m *v1.VerifyResponse) error { return t.also(func() error { return out.Send(m) }) }); err != nil {
				return err
			}
			continue
		}
		v := s.node.verifier.Verify(ctx, archivedVolume(rec), r.Msg.GetCommand(), func(p archive.Progress) { t.tell("restoring "+rec.Name+" elsewhere", inBytes, p.Done, p.Total) })
		if ctx.Err() != nil {
			return apiError(ctx.Err())
		}
		if err := t.also(func() error { return out.Send(&v1.VerifyResponse{Result: verifyMessage(v)}) }); err != nil {
			return err
		}
	}
	return nil
}

func (s volumeService) Retain(ctx context.Context, r *connect.Request[v1.RetainRequest]) (*connect.Response[v1.RetainResponse], error) {
	switch at, err := s.node.readBy(ctx, r.Msg.GetName()); {
	case err != nil:
		return nil, apiError(err)
	case at != "":
		return passOn(ctx, at, s.node.volumesAt(at).Retain, r.Msg)
	}
	rec, o, err := s.node.archived(ctx, r.Msg.GetName())
	if err != nil {
		return nil, apiError(err)
	}
	policy := r.Msg.GetPolicy()
	if policy != "" && r.Msg.GetApply() {
		return nil, apiError(fmt.Errorf("retain volume %q: another retention than the volume's can be planned, not applied: %w", rec.Name, ballast.ErrInvalid))
	}
	plan, err := s.node.keeper.Retain(ctx, o, rec.ID, cmp.Or(policy, s.node.keeper.KeepOf(rec.Spec)), r.Msg.GetApply())
	if err != nil {
		return nil, apiError(fmt.Errorf("retain volume %q: %w", rec.Name, err))
	}
	resp := &v1.RetainResponse{FreedBytes: uint64(max(0, plan.Freed))}
	for _, step := range plan.Steps {
		resp.Steps = append(resp.Steps, &v1.RetainStep{Keep: step.Keep, What: step.What, Time: timestamppb.New(step.Time), Reason: step.Reason})
	}
	return connect.NewResponse(resp), nil
}

func verifyMessage(v verify.Result) *v1.VerifyResult {
	m := &v1.VerifyResult{Name: v.Name, Ok: v.OK, Error: v.Error, Bytes: uint64(v.Bytes), Seconds: v.Seconds, CommandOutput: v.Output}
	if v.Point.LSN > 0 {
		m.Point = pointMessage(v.Point)
	}
	return m
}

func pointMessage(p tail.Point) *v1.Point {
	return &v1.Point{Time: timestamppb.New(p.Time), Lsn: uint64(p.LSN), Epoch: uint64(p.Epoch)}
}

func baseMessage(b *archive.Base) *v1.BaseSnapshot {
	return &v1.BaseSnapshot{
		Id: b.Snapshot.String(), Point: pointMessage(b.Point), Tags: b.Tags,
		SizeBytes: uint64(b.Point.Size), Node: b.Node, AddedBytes: uint64(b.Added),
	}
}

// archiveMessage says how far a volume is archived; nil where its class is not.
func archiveMessage(v volumeView) *v1.ArchiveState {
	a := v.archive
	if a == nil {
		return nil
	}
	m := &v1.ArchiveState{
		ArchivedUntil: optionalTime(a.state.Until), QueuedBytes: uint64(max(0, a.queued)), BehindSince: optionalTime(a.since), Error: errorText(a.err),
		LastSnapshot: optionalTime(a.state.BaseTime), Snapshotting: a.basing, TailBytes: uint64(max(0, a.state.TailBytes)),
	}
	for _, g := range a.state.Gaps {
		m.Gaps = append(m.Gaps, &v1.Window{From: timestamppb.New(g.From), Until: optionalTime(g.Until)})
	}
	return m
}

// hydrationMessage says how much of a volume is still in the archive alone; nil when it
// is all here, or not known.
func hydrationMessage(v volumeView) *v1.Hydration {
	st := v.status
	if v.state != stateAttached || st.MissingChunks == 0 {
		return nil
	}
	return &v1.Hydration{
		TotalBytes: uint64(st.TotalChunks) * ballast.ChunkSize, MissingBytes: uint64(st.MissingChunks) * ballast.ChunkSize,
		BytesPerSecond: uint64(v.hydrationRate), Error: st.FetchError, FailingSince: optionalTime(st.FetchFailingSince),
	}
}
