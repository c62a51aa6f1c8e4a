package agent

import (
	"context"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
)

// The calls of volumeService that are about where a volume is.

func (s volumeService) Move(ctx context.Context, r *connect.Request[v1.MoveRequest], out *connect.ServerStream[v1.MoveResponse]) error {
	n := s.node
	rec, err := n.records.Get(r.Msg.GetName())
	if err != nil {
		return apiError(fmt.Errorf("move volume: %w", err))
	}
	if at, ok := n.holder(ctx, rec); ok {
		return passOnStream(ctx, at, n.volumesAt(at).Move, r.Msg, out)
	}
	pause, err := n.Move(ctx, rec.Name, ballast.NodeID(r.Msg.GetNode()), func(step moveStep) error { return out.Send(moveMessage(step)) })
	if err != nil {
		return apiError(err)
	}
	return out.Send(&v1.MoveResponse{Done: true, Pause: durationpb.New(pause)})
}

func moveMessage(step moveStep) *v1.MoveResponse {
	m := &v1.MoveResponse{Doing: step.doing, Holders: step.holders}
	if step.progress > 0 {
		m.Progress = &v1.Progress{Step: step.doing, Unit: inBytes, DoneBytes: uint64(step.progress * float64(step.size)), TotalBytes: uint64(step.size)}
	}
	return m
}

func (s volumeService) Failover(ctx context.Context, r *connect.Request[v1.FailoverRequest]) (*connect.Response[v1.FailoverResponse], error) {
	n := s.node
	plan, err := n.PlanFailover(ctx, r.Msg.GetName(), ballast.NodeID(r.Msg.GetNode()))
	if err != nil {
		return nil, apiError(err)
	}
	resp := failoverMessage(plan)
	if !r.Msg.GetApply() {
		return connect.NewResponse(resp), nil
	}
	switch {
	case plan.choice == "":
		return nil, apiError(fmt.Errorf("force failover of volume %q: %s: %w", plan.record.Name, plan.loses, ballast.ErrNoCopy))
	case plan.choice != n.cfg.Node && !isForwarded(ctx):
		return n.volumesAt(plan.choice).Failover(ctx, connect.NewRequest(&v1.FailoverRequest{Name: r.Msg.GetName(), Apply: true, Node: string(plan.choice)}))
	}
	rec, err := n.ApplyFailover(ctx, plan)
	if err != nil {
		return nil, apiError(err)
	}
	resp.Volume = volumeMessage(n.look(rec))
	return connect.NewResponse(resp), nil
}

// withoutKind is an error as a table shows it: that it is a kind of error is said elsewhere.
func withoutKind(err error) string {
	return strings.TrimSuffix(strings.TrimSuffix(errorText(err), ": "+ballast.ErrNotReady.Error()), ": "+ballast.ErrNotFound.Error())
}

func failoverMessage(plan failoverPlan) *v1.FailoverResponse {
	m := &v1.FailoverResponse{Choice: string(plan.choice), Loses: plan.loses}
	for _, c := range plan.candidates {
		m.Candidates = append(m.Candidates, &v1.Candidate{
			Node: string(c.node), Epoch: uint64(lastEpochOf(c.state)), Lsn: uint64(c.state.State.Last), InSync: c.inSync,
			Error: withoutKind(c.usable()), WrittenAt: optionalTime(c.state.WrittenAt), SetAside: plan.setAside(c) != nil,
		})
	}
	return m
}
