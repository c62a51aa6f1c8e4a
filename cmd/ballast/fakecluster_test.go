package main

import (
	"context"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// What a script's agent says of its cluster.

func (f *fakeAgent) CreateToken(_ context.Context, r *connect.Request[ballastv1.CreateTokenRequest]) (*connect.Response[ballastv1.CreateTokenResponse], error) {
	return answer[ballastv1.CreateTokenRequest, ballastv1.CreateTokenResponse](f, "CreateToken", r)
}

func (f *fakeAgent) Join(_ context.Context, r *connect.Request[ballastv1.JoinRequest]) (*connect.Response[ballastv1.JoinResponse], error) {
	return answer[ballastv1.JoinRequest, ballastv1.JoinResponse](f, "Join", r)
}

func (f *fakeAgent) ListNodes(_ context.Context, r *connect.Request[ballastv1.ListNodesRequest]) (*connect.Response[ballastv1.ListNodesResponse], error) {
	return answer[ballastv1.ListNodesRequest, ballastv1.ListNodesResponse](f, "ListNodes", r)
}

func (f *fakeAgent) InspectNode(_ context.Context, r *connect.Request[ballastv1.InspectNodeRequest]) (*connect.Response[ballastv1.InspectNodeResponse], error) {
	return answer[ballastv1.InspectNodeRequest, ballastv1.InspectNodeResponse](f, "InspectNode", r)
}

func (f *fakeAgent) DrainNode(ctx context.Context, r *connect.Request[ballastv1.DrainNodeRequest], s *connect.ServerStream[ballastv1.DrainNodeResponse]) error {
	return answers(ctx, f, "DrainNode", r, s)
}

func (f *fakeAgent) RemoveNode(_ context.Context, r *connect.Request[ballastv1.RemoveNodeRequest]) (*connect.Response[ballastv1.RemoveNodeResponse], error) {
	return answer[ballastv1.RemoveNodeRequest, ballastv1.RemoveNodeResponse](f, "RemoveNode", r)
}

func (f *fakeAgent) Move(ctx context.Context, r *connect.Request[ballastv1.MoveRequest], s *connect.ServerStream[ballastv1.MoveResponse]) error {
	return answers(ctx, f, "Move", r, s)
}

// Failover answers a plan and what follows from it apart.
func (f *fakeAgent) Failover(_ context.Context, r *connect.Request[ballastv1.FailoverRequest]) (*connect.Response[ballastv1.FailoverResponse], error) {
	call := "Failover"
	if r.Msg.GetApply() {
		call = "ApplyFailover"
	}
	return answer[ballastv1.FailoverRequest, ballastv1.FailoverResponse](f, call, r)
}
