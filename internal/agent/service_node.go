package agent

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
)

// nodeService shows the node itself, and the cluster it is in, to the API.
type nodeService struct {
	ballastv1connect.UnimplementedNodeServiceHandler
	node *node
}

func (s nodeService) Status(context.Context, *connect.Request[v1.StatusRequest]) (*connect.Response[v1.StatusResponse], error) {
	n := s.node
	n.noteRecords() // as of now, not of the last look
	n.noteCluster()
	ready, _ := n.records.Ready()
	stored, _ := n.clusterInfo()
	resp := &v1.StatusResponse{
		Node: string(n.cfg.Node), Version: n.cfg.Version, StartedAt: timestamppb.New(n.started),
		RecordsReady: ready, DataDir: n.cfg.DataDir,
		Conditions: conditionMessages(n.health.all()),
		Cluster:    stored.ID, Lease: durationpb.New(n.cfg.Lease), Listen: stored.Address,
	}
	if stored.ID != "" {
		for _, v := range n.listNodes() {
			resp.Nodes = append(resp.Nodes, nodeMessage(v))
		}
	}
	for _, v := range n.listViews(false) {
		resp.Volumes++
		if v.state == stateAttached {
			resp.Attached++
		}
	}
	size, free, err := diskSpace(n.cfg.DataDir)
	if err != nil {
		return nil, apiError(err)
	}
	resp.DiskSizeBytes, resp.DiskFreeBytes = size, free
	return connect.NewResponse(resp), nil
}

func (s nodeService) CreateToken(ctx context.Context, r *connect.Request[v1.CreateTokenRequest]) (*connect.Response[v1.CreateTokenResponse], error) {
	ttl := defaultTokenTTL
	if r.Msg.GetTtl() != nil {
		ttl = r.Msg.GetTtl().AsDuration()
	}
	token, address, err := s.node.CreateToken(ctx, ttl, r.Msg.GetAddress())
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.CreateTokenResponse{Token: token.Reveal(), Address: address, ExpiresAt: timestamppb.New(time.Now().Add(ttl))}), nil
}

func (s nodeService) Join(ctx context.Context, r *connect.Request[v1.JoinRequest]) (*connect.Response[v1.JoinResponse], error) {
	joined, err := s.node.Join(ctx, r.Msg.GetToken(), r.Msg.GetAddress(), r.Msg.GetListen())
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.JoinResponse{Cluster: joined.ID, Node: string(joined.Node), Address: joined.Address}), nil
}

func (s nodeService) ListNodes(context.Context, *connect.Request[v1.ListNodesRequest]) (*connect.Response[v1.ListNodesResponse], error) {
	resp := &v1.ListNodesResponse{}
	for _, v := range s.node.listNodes() {
		resp.Nodes = append(resp.Nodes, nodeMessage(v))
	}
	return connect.NewResponse(resp), nil
}

func (s nodeService) InspectNode(ctx context.Context, r *connect.Request[v1.InspectNodeRequest]) (*connect.Response[v1.InspectNodeResponse], error) {
	name := ballast.NodeID(r.Msg.GetName())
	v, err := s.node.findNode(name)
	if err != nil {
		return nil, apiError(err)
	}
	s.node.learnCertificate(ctx, &v)
	resp := &v1.InspectNodeResponse{Node: nodeMessage(v)}
	for _, volume := range s.node.volumesOn(name) {
		resp.Volumes = append(resp.Volumes, volumeMessage(volume))
	}
	return connect.NewResponse(resp), nil
}

func (s nodeService) DrainNode(ctx context.Context, r *connect.Request[v1.DrainNodeRequest], stream *connect.ServerStream[v1.DrainNodeResponse]) error {
	name := ballast.NodeID(r.Msg.GetName())
	if r.Msg.GetUndo() {
		if err := s.node.UndoDrain(ctx, name); err != nil {
			return apiError(err)
		}
		return stream.Send(&v1.DrainNodeResponse{Done: true})
	}
	return apiError(s.node.Drain(ctx, name, func(left []drainStep) error {
		resp := &v1.DrainNodeResponse{Done: len(left) == 0}
		for _, step := range left {
			said := &v1.DrainStep{Volume: step.volume, Doing: step.doing}
			if step.size > 0 {
				said.Progress = &v1.Progress{Step: step.doing, Unit: inBytes, DoneBytes: step.done, TotalBytes: step.size}
			}
			resp.Steps = append(resp.Steps, said)
		}
		return stream.Send(resp)
	}))
}

func (s nodeService) RemoveNode(ctx context.Context, r *connect.Request[v1.RemoveNodeRequest]) (*connect.Response[v1.RemoveNodeResponse], error) {
	lost, err := s.node.RemoveNode(ctx, ballast.NodeID(r.Msg.GetName()), r.Msg.GetForce())
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&v1.RemoveNodeResponse{Lost: lost}), nil
}

func nodeMessage(v nodeView) *v1.Node {
	return &v1.Node{
		Name: string(v.Name), Address: v.Address, State: string(v.state), Version: v.Version, Member: v.member,
		Since: optionalTime(v.since), DiskFreeBytes: v.free, DiskSizeBytes: v.size,
		Primaries: uint32(v.primaries), Copies: uint32(v.copies),
		JoinedAt: optionalTime(v.JoinedAt), CertificateUntil: optionalTime(v.certificateUntil),
	}
}
