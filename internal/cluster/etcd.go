package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/ballast-io/ballast"
)

const (
	// memberURL stands where etcd wants to be told how it is reached. A single
	// member is not reached at all: it has no listener.
	memberName = "ballast"
	memberURL  = "unix://ballast.invalid:0"

	startPatience = 30 * time.Second
	stopPatience  = 10 * time.Second

	handOverPatience = time.Second // with each other member
)

// errBroken says that etcd gave up in this process, which cannot be undone in it.
var errBroken = errors.New("etcd gave up")

// etcd is a member in this process. It opens no socket: calls are function calls, and
// its peers come in by the node's one port (G10).
type etcd struct {
	server  *etcdserver.EtcdServer
	client  *clientv3.Client
	handler *memberHandler // nil: it has no peers
	died    chan error     // etcd met something it does not survive
}

// memberSpec says how a member starts.
type memberSpec struct {
	dir     string
	node    ballast.NodeID
	peering *Peering // nil: it has no peers
	join    []Member // who holds etcd already, this one among them; nil: it is the first, or was there before
	force   bool     // the others are lost: it goes on alone
}

// startEtcd returns a member, with its data in dir. The caller must stop it. What it
// is asked may take until the members that vote are there.
func startEtcd(ctx context.Context, spec memberSpec, log *slog.Logger) (*etcd, error) {
	died := make(chan error, 1)
	cfg, err := memberConfig(spec, etcdLogger(log, died))
	if err != nil {
		return nil, fmt.Errorf("start etcd on %s: %w", spec.dir, err)
	}
	server, err := bootEtcd(ctx, cfg, died)
	if err != nil {
		return nil, fmt.Errorf("start etcd on %s: %w", spec.dir, err)
	}
	e := &etcd{server: server, client: v3client.New(server), died: died}
	if spec.peering != nil {
		e.handler = newMemberHandler(server)
	}
	return e, nil
}

// bootEtcd reads what is on disk in a goroutine of its own: where the files are
// damaged or the disk is full, etcd panics, or ends what it takes for the
// process and is only the goroutine (see etcdLogger).
func bootEtcd(ctx context.Context, cfg config.ServerConfig, died <-chan error) (*etcdserver.EtcdServer, error) {
	type result struct {
		server *etcdserver.EtcdServer
		err    error
	}
	booted := make(chan result, 1)
	go func() {
		defer func() {
			if why := recover(); why != nil {
				booted <- result{nil, fmt.Errorf("%v: %w", why, errBroken)}
			}
		}()
		server, err := etcdserver.NewServer(cfg)
		if err == nil {
			server.Start()
		}
		booted <- result{server, err}
	}()
	select {
	case r := <-booted:
		return r.server, r.err
	case err := <-died:
		return nil, err
	case <-time.After(startPatience):
		return nil, fmt.Errorf("no answer within %s: %w", startPatience, errBroken)
	case <-ctx.Done():
	}
	// Nobody waits for it any more, but it must not go on by itself.
	select {
	case r := <-booted:
		if r.err == nil {
			r.server.Stop()
		}
	case err := <-died:
		return nil, err
	case <-time.After(stopPatience):
	}
	return nil, ctx.Err()
}

func (e *etcd) waitReady(ctx context.Context) error {
	select {
	case <-e.server.ReadyNotify():
		return nil
	case err := <-e.died:
		return err
	case <-e.server.StopNotify():
		return fmt.Errorf("%w: %w", errStopped, errBroken)
	case <-e.patience():
		return fmt.Errorf("no answer within %s: %w", startPatience, errBroken)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// patience ends for a member on its own; one of several waits for the others.
func (e *etcd) patience() <-chan time.Time {
	if e.handler != nil {
		return nil
	}
	return time.After(startPatience)
}

// stop ends the member, also when ctx has ended. One that gave up may never end; it is
// left to the end of the process.
func (e *etcd) stop(ctx context.Context) error {
	stopped := make(chan error, 1)
	go func() {
		err := e.client.Close()
		if e.handler != nil {
			e.handler.stop()
		}
		e.handOver(context.WithoutCancel(ctx))
		e.server.HardStop()
		stopped <- err
	}()
	select {
	case err := <-stopped:
		if err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("stop etcd: %w", err)
		}
		return nil
	case <-time.After(stopPatience):
		return fmt.Errorf("stop etcd: it did not end within %s: %w", stopPatience, errBroken)
	}
}

// handOver lets another member lead, so that the others need not find out that this one
// is gone. etcd's own way waits for longer than it takes to find out.
func (e *etcd) handOver(ctx context.Context) {
	own := e.server.MemberID()
	for _, m := range e.server.Cluster().Members() {
		if e.server.Leader() != own {
			return
		}
		if m.ID != own && !m.IsLearner {
			wait, cancel := context.WithTimeout(ctx, handOverPatience)
			_ = e.server.MoveLeader(wait, uint64(own), uint64(m.ID)) // the next may do it, or an election
			cancel()
		}
	}
}
