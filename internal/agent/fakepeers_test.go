package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/volume"
)

// fakePeers are other nodes, each of which answers as a test says.
type fakePeers struct {
	mu       sync.Mutex // guards everything below
	points   map[ballast.NodeID]receiver.Point
	copies   map[ballast.NodeID]copyState
	fill     byte // of every chunk
	err      map[ballast.NodeID]error
	calls    []string
	attached []string
	volumes  map[ballast.NodeID]*v1.Volume
}

func newFakePeers() *fakePeers {
	return &fakePeers{points: map[ballast.NodeID]receiver.Point{}, copies: map[ballast.NodeID]copyState{}, err: map[ballast.NodeID]error{}, volumes: map[ballast.NodeID]*v1.Volume{}}
}

func (p *fakePeers) call(node ballast.NodeID, what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf("%s %s", node, what))
	return p.err[node]
}

func (p *fakePeers) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *fakePeers) Volumes(node ballast.NodeID) ballastv1connect.VolumeServiceClient {
	return fakeVolumes{peers: p, node: node}
}

func (p *fakePeers) Prepare(_ context.Context, node ballast.NodeID, _ ballast.VolumeID, epoch ballast.Epoch) (receiver.Point, error) {
	err := p.call(node, fmt.Sprintf("prepare %d", epoch))
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.points[node], err
}

func (p *fakePeers) Chunk(_ context.Context, node ballast.NodeID, _ ballast.VolumeID, leader volume.Beginning, chunk int, data []byte) error {
	err := p.call(node, fmt.Sprintf("chunk %d for %d from %d after %d", chunk, leader.Epoch, leader.From, leader.After))
	for i := range data {
		data[i] = p.fill
	}
	return err
}

func (p *fakePeers) Copy(_ context.Context, node ballast.NodeID, _ ballast.VolumeID) (copyState, error) {
	err := p.call(node, "copy")
	p.mu.Lock()
	defer p.mu.Unlock()
	st, said := p.copies[node]
	if point, prepared := p.points[node]; !said && prepared {
		st = copyState{Here: true, State: replica.State{Last: point.LSN, Lineage: point.Lineage, Complete: true}}
	}
	return st, err
}

func (p *fakePeers) Owner(_ context.Context, node ballast.NodeID, _ ballast.VolumeID) (string, error) {
	return "0123456789abcdef", p.call(node, "owner")
}

func (p *fakePeers) Certificate(_ context.Context, node ballast.NodeID) (time.Time, error) {
	return time.Date(2027, 2, 20, 1, 43, 54, 0, time.UTC), p.call(node, "certificate")
}

func (p *fakePeers) Purge(_ context.Context, node ballast.NodeID, _ ballast.VolumeID) error {
	return p.call(node, "purge")
}

// fakeVolumes is the volume service of another node.
type fakeVolumes struct {
	ballastv1connect.VolumeServiceClient
	peers *fakePeers
	node  ballast.NodeID
}

func (f fakeVolumes) Attach(_ context.Context, r *connect.Request[v1.AttachRequest]) (*connect.Response[v1.AttachResponse], error) {
	if err := f.peers.call(f.node, "attach"); err != nil {
		return nil, err
	}
	f.peers.set(func() {
		f.peers.attached = append(f.peers.attached, r.Msg.GetName()+" for "+r.Msg.GetHolder())
	})
	return connect.NewResponse(&v1.AttachResponse{Mountpoint: "/mnt/" + r.Msg.GetName()}), nil
}

func (f fakeVolumes) List(context.Context, *connect.Request[v1.ListRequest]) (*connect.Response[v1.ListResponse], error) {
	resp := &v1.ListResponse{}
	f.peers.set(func() {
		if v := f.peers.volumes[f.node]; v != nil {
			resp.Volumes = append(resp.Volumes, v)
		}
	})
	return connect.NewResponse(resp), nil
}

func (f fakeVolumes) Inspect(context.Context, *connect.Request[v1.InspectRequest]) (*connect.Response[v1.InspectResponse], error) {
	if err := f.peers.call(f.node, "inspect"); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.InspectResponse{Volume: f.peers.volumes[f.node]}), nil
}

// fakeFollowing notes what is asked of the copies here.
type fakeFollowing struct {
	mu     sync.Mutex // guards everything below
	taken  map[ballast.VolumeID]ballast.Epoch
	err    error
	copies []receiver.CopyStatus

	beforeDrop func() // what happens before a stream has ended
}

func newFakeFollowing() *fakeFollowing {
	return &fakeFollowing{taken: map[ballast.VolumeID]ballast.Epoch{}}
}

func (f *fakeFollowing) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (f *fakeFollowing) Serve(_ context.Context, conn net.Conn, _ ballast.NodeID) error {
	return conn.Close()
}

func (f *fakeFollowing) Copies() []receiver.CopyStatus { return f.copies }

func (f *fakeFollowing) Take(_ context.Context, id ballast.VolumeID, epoch ballast.Epoch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken[id] = epoch
	return f.err
}

func (f *fakeFollowing) Drop(_ context.Context, _ ballast.VolumeID, remove func() error) error {
	f.mu.Lock()
	before := f.beforeDrop
	f.mu.Unlock()
	if before != nil {
		before()
	}
	if f.err != nil {
		return f.err
	}
	return remove()
}

func (f *fakeFollowing) Prepare(context.Context, ballast.VolumeID, ballast.Epoch) (receiver.Point, error) {
	return receiver.Point{LSN: 7, Size: ballast.DefaultVolumeSize}, f.err
}

func (f *fakeFollowing) Chunk(context.Context, ballast.VolumeID, volume.Beginning, int, []byte) error {
	if f.err != nil {
		return f.err
	}
	return io.ErrUnexpectedEOF
}
