package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
)

// fakeState is what a script's agent knows when it starts, in the API's JSON.
type fakeState struct {
	Volumes []apiVolume
	Trash   []apiVolume
	Status  json.RawMessage

	Answers map[string][]json.RawMessage // by the name of a call into the archive
	Refuses map[string]refusal
}

// apiVolume reads a volume in the API's JSON.
type apiVolume struct{ *ballastv1.Volume }

func (v *apiVolume) UnmarshalJSON(b []byte) error {
	v.Volume = &ballastv1.Volume{}
	return protojson.Unmarshal(b, v.Volume)
}

// fakeAgent behaves as the agent's API promises, without a disk.
type fakeAgent struct {
	ballastv1connect.UnimplementedNodeServiceHandler
	ballastv1connect.UnimplementedVolumeServiceHandler

	answers map[string][]json.RawMessage // constant
	refuses map[string]refusal           // constant

	mu     sync.Mutex // guards what follows
	asked  io.Writer  // gets a line for each call into the archive
	status json.RawMessage
	live   []*ballastv1.Volume
	trash  []*ballastv1.Volume
}

func newFakeAgent(state fakeState, asked io.Writer) http.Handler {
	f := &fakeAgent{status: state.Status, answers: state.Answers, refuses: state.Refuses, asked: asked}
	for _, v := range state.Volumes {
		f.live = append(f.live, v.Volume)
	}
	for _, v := range state.Trash {
		f.trash = append(f.trash, v.Volume)
	}
	mux := http.NewServeMux()
	mux.Handle(ballastv1connect.NewVolumeServiceHandler(f))
	mux.Handle(ballastv1connect.NewArchiveServiceHandler(fakeArchive{fakeAgent: f}))
	mux.Handle(ballastv1connect.NewNodeServiceHandler(f))
	return mux
}

func refuse(code connect.Code, format string, args ...any) error {
	return connect.NewError(code, fmt.Errorf(format, args...))
}

func find(volumes []*ballastv1.Volume, name string) (int, *ballastv1.Volume, error) {
	for i, v := range volumes {
		if v.GetName() == name || v.GetId() == name {
			return i, v, nil
		}
	}
	return 0, nil, refuse(connect.CodeNotFound, "no volume %q", name)
}

func (f *fakeAgent) Create(_ context.Context, r *connect.Request[ballastv1.CreateRequest]) (*connect.Response[ballastv1.CreateResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	spec, err := ballast.ParseVolumeSpec(r.Msg.GetOptions())
	if err != nil {
		return nil, refuse(connect.CodeInvalidArgument, "create volume %q: %w", r.Msg.GetName(), err)
	}
	if _, v, _ := find(f.live, r.Msg.GetName()); v != nil && v.GetSizeBytes() != uint64(spec.Size) {
		return nil, refuse(connect.CodeAlreadyExists, "volume %q exists already, with other options: size", v.GetName())
	}
	v := &ballastv1.Volume{Name: r.Msg.GetName(), SizeBytes: uint64(spec.Size), Fs: string(spec.FS), Class: string(spec.Class)}
	f.live = append(f.live, v)
	return connect.NewResponse(&ballastv1.CreateResponse{Volume: v}), nil
}

func (f *fakeAgent) List(_ context.Context, r *connect.Request[ballastv1.ListRequest]) (*connect.Response[ballastv1.ListResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Msg.GetTrash() {
		return connect.NewResponse(&ballastv1.ListResponse{Volumes: f.trash}), nil
	}
	return connect.NewResponse(&ballastv1.ListResponse{Volumes: f.live}), nil
}

func (f *fakeAgent) Inspect(_ context.Context, r *connect.Request[ballastv1.InspectRequest]) (*connect.Response[ballastv1.InspectResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, v, err := find(f.live, r.Msg.GetName())
	return connect.NewResponse(&ballastv1.InspectResponse{Volume: v}), err
}

func (f *fakeAgent) Remove(_ context.Context, r *connect.Request[ballastv1.RemoveRequest]) (*connect.Response[ballastv1.RemoveResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, v, err := find(f.live, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	if len(v.GetHolders()) > 0 {
		return nil, refuse(connect.CodeFailedPrecondition, "volume %q is held by %s: %w", v.GetName(), v.GetHolders()[0], ballast.ErrInUse)
	}
	f.live, f.trash = slices.Delete(f.live, i, i+1), append(f.trash, v)
	v.RemovedAt = timestamppb.New(testNow)
	return connect.NewResponse(&ballastv1.RemoveResponse{KeptUntil: timestamppb.New(testNow.Add(72 * time.Hour))}), nil
}

func (f *fakeAgent) Restore(_ context.Context, r *connect.Request[ballastv1.RestoreRequest]) (*connect.Response[ballastv1.RestoreResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, v, err := find(f.trash, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	if as := r.Msg.GetAs(); as != "" {
		v.Name = as
	}
	f.live, f.trash = append(f.live, v), slices.Delete(f.trash, i, i+1)
	return connect.NewResponse(&ballastv1.RestoreResponse{Volume: v}), nil
}

func (f *fakeAgent) Resize(_ context.Context, r *connect.Request[ballastv1.ResizeRequest]) (*connect.Response[ballastv1.ResizeResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, v, err := find(f.live, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	n, err := ballast.ParseSize(r.Msg.GetSize())
	if err != nil {
		return nil, refuse(connect.CodeInvalidArgument, "resize volume %q: %w", v.GetName(), err)
	}
	if uint64(n) < v.GetSizeBytes() {
		return nil, refuse(connect.CodeInvalidArgument, "resize volume %q: a volume cannot shrink", v.GetName())
	}
	v.SizeBytes = uint64(n)
	return connect.NewResponse(&ballastv1.ResizeResponse{Volume: v}), nil
}

func (f *fakeAgent) Attach(_ context.Context, r *connect.Request[ballastv1.AttachRequest]) (*connect.Response[ballastv1.AttachResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, v, err := find(f.live, r.Msg.GetName())
	if err == nil {
		err = f.refusal("Attach")
	}
	if err != nil {
		return nil, err
	}
	if node := r.Msg.GetNode(); node != "" && node != "n2" {
		return nil, refuse(connect.CodeNotFound, "there is no node %q in the cluster: %w", node, ballast.ErrNotFound)
	}
	v.Holders = append(v.Holders, r.Msg.GetHolder())
	return connect.NewResponse(&ballastv1.AttachResponse{Mountpoint: "/var/lib/ballast/mnt/" + v.GetName()}), nil
}

func (f *fakeAgent) Detach(_ context.Context, r *connect.Request[ballastv1.DetachRequest]) (*connect.Response[ballastv1.DetachResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, v, err := find(f.live, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	i := slices.Index(v.GetHolders(), r.Msg.GetHolder())
	if i < 0 {
		return nil, refuse(connect.CodeFailedPrecondition, "volume %q is not held by %q", v.GetName(), r.Msg.GetHolder())
	}
	v.Holders = slices.Delete(v.Holders, i, i+1)
	return connect.NewResponse(&ballastv1.DetachResponse{}), nil
}

func (f *fakeAgent) Status(context.Context, *connect.Request[ballastv1.StatusRequest]) (*connect.Response[ballastv1.StatusResponse], error) {
	s := &ballastv1.StatusResponse{}
	if err := protojson.Unmarshal(f.status, s); err != nil {
		return nil, refuse(connect.CodeInternal, "the script's status: %w", err)
	}
	return connect.NewResponse(s), nil
}
