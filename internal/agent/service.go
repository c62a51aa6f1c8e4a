package agent

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
)

// volumeService shows the node's volumes to the API.
type volumeService struct {
	ballastv1connect.UnimplementedVolumeServiceHandler
	node *node
}

func (s volumeService) Create(ctx context.Context, r *connect.Request[v1.CreateRequest]) (*connect.Response[v1.CreateResponse], error) {
	v, err := s.node.Create(ctx, r.Msg.GetName(), r.Msg.GetOptions())
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.CreateResponse{Volume: volumeMessage(v)}), nil
}

func (s volumeService) List(ctx context.Context, r *connect.Request[v1.ListRequest]) (*connect.Response[v1.ListResponse], error) {
	views, err := s.node.List(r.Msg.GetTrash())
	if err != nil {
		return nil, apiError(err)
	}
	resp := &v1.ListResponse{}
	known := s.node.listElsewhere(ctx, views)
	for _, v := range views {
		m := known[string(v.record.ID)]
		if m == nil {
			m = volumeMessage(v)
		}
		resp.Volumes = append(resp.Volumes, m)
	}
	return connect.NewResponse(resp), nil
}

func (s volumeService) Inspect(ctx context.Context, r *connect.Request[v1.InspectRequest]) (*connect.Response[v1.InspectResponse], error) {
	v, err := s.node.Inspect(r.Msg.GetName())
	if err != nil {
		return nil, apiError(err)
	}
	m := s.node.inspectElsewhere(ctx, v.record)
	if m == nil {
		m = volumeMessage(v)
	}
	return connect.NewResponse(&v1.InspectResponse{Volume: m}), nil
}

func (s volumeService) Remove(ctx context.Context, r *connect.Request[v1.RemoveRequest]) (*connect.Response[v1.RemoveResponse], error) {
	switch at, err := s.node.doneBy(ctx, r.Msg.GetName()); {
	case err != nil:
		return nil, apiError(err)
	case at != "":
		return passOn(ctx, at, s.node.volumesAt(at).Remove, r.Msg)
	}
	until, err := s.node.Remove(ctx, r.Msg.GetName())
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.RemoveResponse{KeptUntil: timestamppb.New(until)}), nil
}

func (s volumeService) Restore(ctx context.Context, r *connect.Request[v1.RestoreRequest]) (*connect.Response[v1.RestoreResponse], error) {
	v, err := s.node.Restore(ctx, r.Msg.GetName(), r.Msg.GetAs())
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.RestoreResponse{Volume: volumeMessage(v)}), nil
}

func (s volumeService) Resize(ctx context.Context, r *connect.Request[v1.ResizeRequest]) (*connect.Response[v1.ResizeResponse], error) {
	switch at, err := s.node.doneBy(ctx, r.Msg.GetName()); {
	case err != nil:
		return nil, apiError(err)
	case at != "":
		return passOn(ctx, at, s.node.volumesAt(at).Resize, r.Msg)
	}
	v, err := s.node.Resize(ctx, r.Msg.GetName(), r.Msg.GetSize())
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.ResizeResponse{Volume: volumeMessage(v)}), nil
}

func (s volumeService) Attach(ctx context.Context, r *connect.Request[v1.AttachRequest]) (*connect.Response[v1.AttachResponse], error) {
	if at, ok := s.node.elsewhere(ctx, r.Msg.GetNode()); ok {
		return s.node.volumesAt(at).Attach(ctx, connect.NewRequest(r.Msg))
	}
	mountpoint, err := s.node.Attach(ctx, r.Msg.GetName(), r.Msg.GetHolder())
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.AttachResponse{Mountpoint: mountpoint}), nil
}

func (s volumeService) Detach(ctx context.Context, r *connect.Request[v1.DetachRequest]) (*connect.Response[v1.DetachResponse], error) {
	if at, ok := s.node.elsewhere(ctx, r.Msg.GetNode()); ok {
		return s.node.volumesAt(at).Detach(ctx, connect.NewRequest(r.Msg))
	}
	if err := s.node.refuseElsewhere(ctx, r.Msg.GetName(), r.Msg.GetHolder()); err != nil {
		return nil, apiError(err)
	}
	if err := s.node.Detach(ctx, r.Msg.GetName(), r.Msg.GetHolder()); err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.DetachResponse{}), nil
}

func volumeMessage(v volumeView) *v1.Volume {
	rec := v.record
	m := &v1.Volume{
		Name: rec.Name, Id: string(rec.ID), SizeBytes: uint64(rec.Spec.Size),
		Fs: string(rec.Spec.FS), Class: string(rec.Spec.Class), Labels: rec.Spec.Labels,
		Uid: rec.Spec.UID, Gid: rec.Spec.GID, Mode: rec.Spec.Mode,
		CreatedAt: timestamppb.New(rec.CreatedAt), RemovedAt: optionalTime(rec.RemovedAt),
		Epoch: uint64(rec.Epoch), Primary: string(rec.Primary),
		State: string(v.state), Mountpoint: v.mountpoint, Holders: v.holders,
		Conditions: conditionMessages(v.conditions), UsedBytes: uint64(v.usedBytes),
		Archive: archiveMessage(v), Hydration: hydrationMessage(v), Origin: rec.Origin.String(),
		Copies: copyMessages(v), Replicas: uint32(v.wanted), MinCopies: uint32(rec.Spec.CopiesNeeded()), Forced: forcedMessages(rec),
	}
	if v.state == stateAttached && v.mountpoint != "" {
		m.Engine = engineMessage(v)
	}
	return m
}

func engineMessage(v volumeView) *v1.EngineStatus {
	st := v.status
	return &v1.EngineStatus{
		Pid: int32(st.PID), Device: v.loop, Error: st.Error,
		LastLsn: uint64(st.Last), DurableLsn: uint64(st.Durable), CommittedLsn: uint64(st.Committed), AppliedLsn: uint64(st.Applied),
		LogBytes: uint64(st.LogBytes), LogCapacityBytes: uint64(st.LogCapacity), ImageBytes: uint64(st.ImageBytes),
		Reads: st.Reads, Writes: st.Writes, Flushes: st.Flushes, ReadBytes: st.ReadBytes, WrittenBytes: st.WrittenBytes,
	}
}

func conditionMessages(conditions []condition) []*v1.Condition {
	var messages []*v1.Condition
	for _, c := range conditions {
		messages = append(messages, &v1.Condition{Code: c.code, Title: c.title, Since: timestamppb.New(c.since), Hint: c.hint})
	}
	return messages
}

func optionalTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
