package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archiver"
)

// archiveService shows the node's archive to the API.
type archiveService struct {
	ballastv1connect.UnimplementedArchiveServiceHandler
	node *node
}

var errNoArchive = fmt.Errorf("this node archives nothing (--archive none): %w", ballast.ErrInvalid)

// repository returns the open repository.
func (s archiveService) repository(ctx context.Context) (*repository.Repository, error) {
	if !s.node.cfg.archives() {
		return nil, errNoArchive
	}
	o, err := s.node.vault.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return o.Repo, nil
}

func (s archiveService) Init(ctx context.Context, _ *connect.Request[v1.InitArchiveRequest]) (*connect.Response[v1.InitArchiveResponse], error) {
	n := s.node
	if !n.cfg.archives() {
		return nil, apiError(errNoArchive)
	}
	repo, err := n.opener().Init(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	if _, err := n.vault.Wait(ctx); err != nil {
		n.log.Warn("the archive was made, and is not open yet", "error", err)
	}
	resp := &v1.InitArchiveResponse{Url: n.cfg.location().Public(), RepositoryId: repo.ID()}
	if n.cfg.location().MakesPassword() {
		resp.PasswordFile = n.cfg.location().File()
	}
	return connect.NewResponse(resp), nil
}

func (s archiveService) Status(context.Context, *connect.Request[v1.ArchiveStatusRequest]) (*connect.Response[v1.ArchiveStatusResponse], error) {
	n := s.node
	resp := &v1.ArchiveStatusResponse{State: string(archiver.Off)}
	if !n.cfg.archives() {
		return connect.NewResponse(resp), nil
	}
	state, since, why := n.vault.Standing()
	resp.Url, resp.Local, resp.State, resp.PasswordFile = n.cfg.location().Public(), n.cfg.location().IsLocal(), string(state), n.cfg.location().File()
	resp.LastVerified = optionalTime(n.verifier.Last())
	if why != nil {
		resp.Error, resp.FailingSince = why.Error(), optionalTime(since)
	}
	if o, err := n.vault.Get(); err == nil {
		resp.RepositoryId = o.Repo.ID()
	}
	for _, v := range n.listViews(false) {
		if m := archiveMessage(v); m != nil {
			resp.Volumes = append(resp.Volumes, &v1.VolumeArchive{Name: v.record.Name, Id: string(v.record.ID), State: m})
		}
	}
	return connect.NewResponse(resp), nil
}

func (s archiveService) ListKeys(ctx context.Context, _ *connect.Request[v1.ListKeysRequest]) (*connect.Response[v1.ListKeysResponse], error) {
	repo, err := s.repository(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	keys, err := repo.Keys(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	resp := &v1.ListKeysResponse{}
	for _, k := range keys {
		resp.Keys = append(resp.Keys, keyMessage(k))
	}
	return connect.NewResponse(resp), nil
}

func (s archiveService) AddKey(ctx context.Context, r *connect.Request[v1.AddKeyRequest]) (*connect.Response[v1.AddKeyResponse], error) {
	password, err := archiver.CheckPassword(r.Msg.GetPassword(), "the request")
	if err != nil {
		return nil, apiError(err)
	}
	repo, err := s.repository(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	key, err := repo.AddKey(ctx, password, s.node.opener().Host())
	if err != nil {
		return nil, apiError(err)
	}
	s.node.log.Info("added a key to the archive", "key", key.ID)
	return connect.NewResponse(&v1.AddKeyResponse{Key: keyMessage(key)}), nil
}

func (s archiveService) RemoveKey(ctx context.Context, r *connect.Request[v1.RemoveKeyRequest]) (*connect.Response[v1.RemoveKeyResponse], error) {
	repo, err := s.repository(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	if err := repo.RemoveKey(ctx, r.Msg.GetId()); err != nil {
		return nil, apiError(err)
	}
	s.node.log.Info("removed a key from the archive", "key", r.Msg.GetId())
	return connect.NewResponse(&v1.RemoveKeyResponse{}), nil
}

func keyMessage(k repository.Key) *v1.Key {
	return &v1.Key{Id: k.ID, CreatedAt: timestamppb.New(k.Created), User: k.User, Host: k.Host, Current: k.Current}
}

func (s archiveService) Recover(ctx context.Context, r *connect.Request[v1.RecoverRequest], out *connect.ServerStream[v1.RecoverResponse]) error {
	err := s.node.Recover(ctx, r.Msg.GetDryRun(), func(done recovered) error {
		m := &v1.RecoverResult{Name: done.name, Existed: done.existed}
		if done.err != nil {
			m.Error = done.err.Error()
		}
		if done.point.LSN > 0 {
			m.Point = pointMessage(done.point)
		}
		return out.Send(&v1.RecoverResponse{Result: m})
	})
	return apiError(err)
}

// tellEvery is how often progress is told: a person sees no more.
const tellEvery = 250 * time.Millisecond

// What progress is counted in, as the API says it.
const (
	inBytes  = "bytes"
	inPieces = "pieces"
)

func unitOf(p repository.Progress) string {
	if p.Bytes {
		return inBytes
	}
	return inPieces
}

// teller sends progress to a stream now and then; after the first failure the caller has
// gone, and its context tells. It is safe for concurrent use.
type teller struct {
	send func(*v1.Progress) error

	mu   sync.Mutex // guards last, and one send at a time
	last time.Time
}

func (t *teller) tell(step, unit string, done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.last) >= tellEvery || done == total {
		t.last = now
		_ = t.send(&v1.Progress{Step: step, DoneBytes: uint64(max(0, done)), TotalBytes: uint64(max(0, total)), Unit: unit}) // see above
	}
}

// send sends something else to the same stream.
func (t *teller) also(send func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return send()
}

// errorText returns what an error says; nothing for none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// joinCause keeps an error of the store from being taken for the caller's.
func joinCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return err
}
