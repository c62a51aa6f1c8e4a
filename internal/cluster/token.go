package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

// The limits of a token.
const (
	minTokenTTL  = 10 * time.Second // etcd keeps nothing for less, depending on its timing
	maxTokenTTL  = 30 * 24 * time.Hour
	maxTokenText = 4 << 10
)

// PutToken keeps what a token is checked against until it is spent or its time is
// over, by etcd's clock and not by anybody's date.
func (r *Records) PutToken(ctx context.Context, id string, stored []byte, ttl time.Duration) error {
	if !isTokenID(id) || len(stored) == 0 || len(stored) > maxTokenText {
		return fmt.Errorf("make token: it cannot be kept under %.40q: %w", id, ballast.ErrInvalid)
	}
	if ttl < minTokenTTL || ttl > maxTokenTTL {
		return fmt.Errorf("make token: a token is good for %s to %s, not for %s: %w", minTokenTTL, maxTokenTTL, ttl, ballast.ErrInvalid)
	}
	keys, err := r.keyspace(ctx)
	if err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	ok, err := keys.lend(ctx, item{key: tokensPrefix + id, value: stored}, ttl)
	if err == nil && !ok {
		err = fmt.Errorf("there is a token %s already: %w", id, ballast.ErrExists)
	}
	return wrapNonNil("make token", err)
}

// SpendToken takes a token out, which only one of many can do at once. check looks at
// what it was stored with; what it returns is returned, and the token stays. To make
// a node of whoever came with it use Admit.
func (r *Records) SpendToken(ctx context.Context, id string, check func(stored []byte) error) error {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return fmt.Errorf("spend token: %w", err)
	}
	token, err := checkToken(ctx, keys, id, check)
	if err != nil {
		return fmt.Errorf("spend token: %w", err)
	}
	ok, _, err := keys.swap(ctx, []item{token}, []item{{key: token.key}})
	if err == nil && !ok {
		err = errTokenSpent
	}
	return wrapNonNil("spend token", err)
}

// errTokenSpent says that a token is of no use.
var errTokenSpent = fmt.Errorf("the token was used, or its time is over, or it is of another cluster; make another one with: ballast token create: %w", ballast.ErrNotFound)

func checkToken(ctx context.Context, keys keyspace, id string, check func(stored []byte) error) (item, error) {
	if !isTokenID(id) {
		return item{}, errTokenSpent
	}
	token, err := keys.get(ctx, tokensPrefix+id)
	if err != nil {
		return item{}, err
	}
	if token.rev == 0 {
		return item{}, errTokenSpent
	}
	return token, check(token.value)
}

// stillThere says whether a token was spent by somebody else.
func stillThere(ctx context.Context, keys keyspace, spent []item) error {
	for _, token := range spent {
		now, err := keys.get(ctx, token.key)
		if err != nil {
			return err
		}
		if now.rev != token.rev {
			return errTokenSpent
		}
	}
	return nil
}

const tokenLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func isTokenID(id string) bool {
	const most = 64
	other := func(r rune) bool { return r > 'z' || !strings.ContainsRune(tokenLetters, r) }
	return id != "" && len(id) <= most && !strings.ContainsFunc(id, other)
}

// Authority returns the cluster's certificate authority as it is stored. The error
// is [ballast.ErrNotFound] when there is none yet.
func (r *Records) Authority(ctx context.Context) ([]byte, error) {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	got, err := keys.get(ctx, authorityKey)
	if err == nil && got.rev == 0 {
		err = fmt.Errorf("there is none yet: %w", ballast.ErrNotFound)
	}
	return got.value, wrapNonNil("read the certificate authority", err)
}

// Found begins a cluster: it stores the certificate authority and the first node, both or
// neither. The error is [ballast.ErrExists] when there is a cluster, unless its authority is the same:
// then this was asked before, and the node is returned that was stored.
func (r *Records) Found(ctx context.Context, authority []byte, n Node) (Node, error) {
	keys, err := r.keyspace(ctx)
	if err == nil {
		err = n.check()
	}
	if err != nil {
		return Node{}, fmt.Errorf("begin a cluster: %w", err)
	}
	last, err := keys.get(ctx, generationKey)
	if err != nil {
		return Node{}, fmt.Errorf("begin a cluster: %w", err)
	}
	if n.Generation, err = nextGeneration(last.value); err != nil {
		return Node{}, fmt.Errorf("begin a cluster: %w", err)
	}
	data, err := encodeNode(n)
	if err != nil {
		return Node{}, fmt.Errorf("begin a cluster: %w", err)
	}
	ok, rev, err := keys.swap(ctx, []item{{key: authorityKey}, {key: nodeKey(n.Name)}, last}, []item{
		{key: authorityKey, value: authority},
		{key: generationKey, value: strconv.AppendUint(nil, n.Generation, 10)},
		{key: nodeKey(n.Name), value: data},
	})
	if err != nil {
		return Node{}, fmt.Errorf("begin a cluster: %w", err)
	}
	if !ok {
		return r.founded(ctx, keys, authority, n.Name)
	}
	n.Revision = rev
	r.view.putNode(n) // C6
	return n, nil
}

// founded returns the node that an earlier Found has stored.
func (r *Records) founded(ctx context.Context, keys keyspace, authority []byte, name ballast.NodeID) (Node, error) {
	stored, err := keys.get(ctx, authorityKey)
	if err != nil {
		return Node{}, fmt.Errorf("begin a cluster: %w", err)
	}
	n, rev, err := fetchNode(ctx, keys, name)
	if err != nil {
		return Node{}, fmt.Errorf("begin a cluster: %w", err)
	}
	if rev == 0 || !bytes.Equal(stored.value, authority) {
		return Node{}, fmt.Errorf("begin a cluster: there is one already, and this node is not in it; type `ballast token create` on one of its nodes, and here what it prints: %w", ballast.ErrExists)
	}
	r.view.putNode(n) // C6
	return n, nil
}

// SetAuthority stores the certificate authority unless there is one, and returns the
// one that there is then: it is never replaced.
func (r *Records) SetAuthority(ctx context.Context, made []byte) ([]byte, error) {
	keys, err := r.keyspace(ctx)
	if err != nil {
		return nil, fmt.Errorf("keep the certificate authority: %w", err)
	}
	ok, _, err := keys.swap(ctx, []item{{key: authorityKey}}, []item{{key: authorityKey, value: made}})
	if err != nil {
		return nil, fmt.Errorf("keep the certificate authority: %w", err)
	}
	if ok {
		return made, nil
	}
	found, err := r.Authority(ctx)
	if errors.Is(err, ballast.ErrNotFound) {
		return nil, fmt.Errorf("keep the certificate authority: %w", errContended)
	}
	return found, err
}
