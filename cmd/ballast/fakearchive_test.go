package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
)

// refusal is how a script's agent ends a call, after the answers it has to it.
type refusal struct {
	Code string // as the API writes it; "gone": the agent dies; "stalled": it says nothing more
	Says string
}

// answer returns the script's answer to a call, and writes down what was asked.
func answer[Req, Res any](f *fakeAgent, call string, r *connect.Request[Req]) (*connect.Response[Res], error) {
	f.note(call, any(r.Msg).(proto.Message))
	if err := f.refusal(call); err != nil {
		return nil, err
	}
	res := new(Res)
	if all := f.answers[call]; len(all) > 0 {
		if err := protojson.Unmarshal(all[0], any(res).(proto.Message)); err != nil {
			return nil, refuse(connect.CodeInternal, "the script's answer: %w", err)
		}
		return connect.NewResponse(res), nil
	}
	return nil, refuse(connect.CodeUnimplemented, "the script has no answer to %s", call)
}

// answers sends the script's answers to a call that tells how far it is.
func answers[Req, Res any](ctx context.Context, f *fakeAgent, call string, r *connect.Request[Req], s *connect.ServerStream[Res]) error {
	f.note(call, any(r.Msg).(proto.Message))
	for _, one := range f.answers[call] {
		res := new(Res)
		if err := protojson.Unmarshal(one, any(res).(proto.Message)); err != nil {
			return refuse(connect.CodeInternal, "the script's answer: %w", err)
		}
		if err := s.Send(res); err != nil {
			return err
		}
	}
	if f.refuses[call].Code == "stalled" {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.refusal(call)
}

func (f *fakeAgent) refusal(call string) error {
	r, ok := f.refuses[call]
	if !ok {
		return nil
	}
	if r.Code == "gone" {
		panic(http.ErrAbortHandler) // the connection ends in the middle
	}
	var code connect.Code
	if err := code.UnmarshalText([]byte(r.Code)); err != nil {
		return refuse(connect.CodeInternal, "the script's refusal: %w", err)
	}
	return refuse(code, "%s", r.Says)
}

// note writes down what was asked, in the order of the API's fields.
func (f *fakeAgent) note(call string, m proto.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := protojson.Marshal(m)
	var line bytes.Buffer
	if err == nil {
		err = json.Compact(&line, b) // protojson's spaces are random on purpose
	}
	if err != nil {
		panic(err) // a request that was read is written
	}
	fmt.Fprintln(f.asked, call, line.String())
}

func (f *fakeAgent) History(_ context.Context, r *connect.Request[ballastv1.HistoryRequest]) (*connect.Response[ballastv1.HistoryResponse], error) {
	return answer[ballastv1.HistoryRequest, ballastv1.HistoryResponse](f, "History", r)
}

func (f *fakeAgent) RestoreAt(_ context.Context, r *connect.Request[ballastv1.RestoreAtRequest]) (*connect.Response[ballastv1.RestoreAtResponse], error) {
	return answer[ballastv1.RestoreAtRequest, ballastv1.RestoreAtResponse](f, "RestoreAt", r)
}

func (f *fakeAgent) Retain(_ context.Context, r *connect.Request[ballastv1.RetainRequest]) (*connect.Response[ballastv1.RetainResponse], error) {
	return answer[ballastv1.RetainRequest, ballastv1.RetainResponse](f, "Retain", r)
}

func (f *fakeAgent) Snapshot(ctx context.Context, r *connect.Request[ballastv1.SnapshotRequest], s *connect.ServerStream[ballastv1.SnapshotResponse]) error {
	return answers(ctx, f, "Snapshot", r, s)
}

func (f *fakeAgent) Verify(ctx context.Context, r *connect.Request[ballastv1.VerifyRequest], s *connect.ServerStream[ballastv1.VerifyResponse]) error {
	return answers(ctx, f, "Verify", r, s)
}

// fakeArchive is the agent's other service: both have a Status.
type fakeArchive struct {
	ballastv1connect.UnimplementedArchiveServiceHandler
	*fakeAgent
}

func (f fakeArchive) Init(_ context.Context, r *connect.Request[ballastv1.InitArchiveRequest]) (*connect.Response[ballastv1.InitArchiveResponse], error) {
	return answer[ballastv1.InitArchiveRequest, ballastv1.InitArchiveResponse](f.fakeAgent, "InitArchive", r)
}

func (f fakeArchive) Status(_ context.Context, r *connect.Request[ballastv1.ArchiveStatusRequest]) (*connect.Response[ballastv1.ArchiveStatusResponse], error) {
	return answer[ballastv1.ArchiveStatusRequest, ballastv1.ArchiveStatusResponse](f.fakeAgent, "ArchiveStatus", r)
}

func (f fakeArchive) ListKeys(_ context.Context, r *connect.Request[ballastv1.ListKeysRequest]) (*connect.Response[ballastv1.ListKeysResponse], error) {
	return answer[ballastv1.ListKeysRequest, ballastv1.ListKeysResponse](f.fakeAgent, "ListKeys", r)
}

func (f fakeArchive) AddKey(_ context.Context, r *connect.Request[ballastv1.AddKeyRequest]) (*connect.Response[ballastv1.AddKeyResponse], error) {
	return answer[ballastv1.AddKeyRequest, ballastv1.AddKeyResponse](f.fakeAgent, "AddKey", r)
}

func (f fakeArchive) RemoveKey(_ context.Context, r *connect.Request[ballastv1.RemoveKeyRequest]) (*connect.Response[ballastv1.RemoveKeyResponse], error) {
	return answer[ballastv1.RemoveKeyRequest, ballastv1.RemoveKeyResponse](f.fakeAgent, "RemoveKey", r)
}

func (f fakeArchive) Check(ctx context.Context, r *connect.Request[ballastv1.CheckArchiveRequest], s *connect.ServerStream[ballastv1.CheckArchiveResponse]) error {
	return answers(ctx, f.fakeAgent, "CheckArchive", r, s)
}

func (f fakeArchive) Prune(ctx context.Context, r *connect.Request[ballastv1.PruneRequest], s *connect.ServerStream[ballastv1.PruneResponse]) error {
	return answers(ctx, f.fakeAgent, "Prune", r, s)
}

func (f fakeArchive) Recover(ctx context.Context, r *connect.Request[ballastv1.RecoverRequest], s *connect.ServerStream[ballastv1.RecoverResponse]) error {
	return answers(ctx, f.fakeAgent, "Recover", r, s)
}
