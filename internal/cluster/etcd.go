package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"
	"go.uber.org/zap"
)

const (
	// memberURL stands where etcd wants to be told how it is reached. A single
	// member is not reached at all: it has no listener.
	memberName = "ballast"
	memberURL  = "unix://ballast.invalid:0"

	startPatience = 30 * time.Second
	stopPatience  = 5 * time.Second
)

// errBroken says that etcd gave up in this process, which cannot be undone in it.
var errBroken = errors.New("etcd gave up")

// etcd is a member in this process. It opens no socket: calls are function
// calls, so there is nothing to authenticate (G10).
type etcd struct {
	server *etcdserver.EtcdServer
	client *clientv3.Client
	died   chan error // etcd met something it does not survive
}

// startEtcd returns a member that can be asked, with its data in dir. The caller
// must stop it.
func startEtcd(ctx context.Context, dir string, log *slog.Logger) (*etcd, error) {
	died := make(chan error, 1)
	server, err := bootEtcd(ctx, memberConfig(dir, etcdLogger(log, died)), died)
	if err != nil {
		return nil, fmt.Errorf("start etcd on %s: %w", dir, err)
	}
	e := &etcd{server: server, client: v3client.New(server), died: died}
	if err := e.waitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd on %s: %w", dir, err), e.stop())
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
		return fmt.Errorf("it stopped: %w", errBroken)
	case <-time.After(startPatience):
		return fmt.Errorf("no answer within %s: %w", startPatience, errBroken)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the member. One that gave up may never end; it is left to the end
// of the process.
func (e *etcd) stop() error {
	stopped := make(chan error, 1)
	go func() {
		err := e.client.Close()
		e.server.Stop()
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

// memberConfig is tuned for a few thousand small records: little memory, short
// history, quick start.
func memberConfig(dir string, log *zap.Logger) config.ServerConfig {
	urls := types.MustNewURLs([]string{memberURL})
	return config.ServerConfig{
		Name:                        memberName,
		ClientURLs:                  urls,
		PeerURLs:                    urls,
		InitialPeerURLsMap:          types.URLsMap{memberName: urls},
		InitialClusterToken:         memberName,
		NewCluster:                  true,
		DataDir:                     dir,
		SnapshotCount:               5000,
		SnapshotCatchUpEntries:      500,
		MaxSnapFiles:                2,
		MaxWALFiles:                 2,
		TickMs:                      50,
		ElectionTicks:               10,
		InitialElectionTickAdvance:  true,
		PreVote:                     true,
		AutoCompactionMode:          "revision",
		AutoCompactionRetention:     1000,
		CompactionBatchLimit:        1000,
		QuotaBackendBytes:           512 << 20,
		MaxTxnOps:                   16,
		MaxRequestBytes:             2 * maxRecord,
		StrictReconfigCheck:         true,
		AuthToken:                   "simple",
		BcryptCost:                  10,
		WatchProgressNotifyInterval: 10 * time.Minute,
		DowngradeCheckTime:          time.Minute,
		WarningApplyDuration:        time.Second,
		WarningUnaryRequestDuration: 3 * time.Second,
		V2Deprecation:               config.V2DeprDefault,
		ServerFeatureGate:           features.NewDefaultServerFeatureGate(memberName, log),
		Logger:                      log,
	}
}
