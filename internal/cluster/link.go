package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// The patience of a client with a member before it asks another one.
const (
	dialPatience  = 2 * time.Second
	aliveInterval = 5 * time.Second
	alivePatience = 2 * time.Second
	listPatience  = 3 * time.Second
)

// newLink returns a client of the etcd at urls. The caller must close it.
func newLink(urls []string, config *tls.Config) (*clientv3.Client, error) {
	retry := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: dialPatience}
	link, err := clientv3.New(clientv3.Config{
		Endpoints:            urls,
		TLS:                  config,
		DialTimeout:          dialPatience,
		DialKeepAliveTime:    aliveInterval,
		DialKeepAliveTimeout: alivePatience,
		PermitWithoutStream:  false,
		MaxCallRecvMsgSize:   maxViewFile,
		Logger:               zap.NewNop(),
		DialOptions:          []grpc.DialOption{grpc.WithNoProxy(), grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: dialPatience})},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the members of etcd at %v: %w", urls, err)
	}
	return link, nil
}

func closeLink(link *clientv3.Client) error {
	if err := link.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("let go of etcd: %w", err)
	}
	return nil
}

// membersAt asks for the members that there are, of whom the client asks.
func membersAt(ctx context.Context, link *clientv3.Client) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	got, err := link.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask who holds etcd: %w", err)
	}
	return membersFrom(got.Members), nil
}
