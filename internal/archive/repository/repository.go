package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// Host is who a key, or a lock, says it belongs to.
type Host struct{ Name, User string }

// Repository is an open repository.
type Repository struct {
	store  store.Store
	config config
	master secret
	sealer *sealer
	codec  *codec
	index  *index
	pool   *buffers
	cost   scryptCost // of keys that are added
	target int        // bytes of a full pack

	snapshots snapshotCache

	mu    sync.Mutex // guards everything below
	key   ID         // of the file that was opened
	held  map[*Lock]ID
	since map[ID]time.Time // when a lock was first seen here, by the clock since boot
}

// Init makes a repository in a store. If there is one already, or what looks like
// the rest of one, it fails with [ballast.ErrExists].
func Init(ctx context.Context, st store.Store, password []byte, host Host) (*Repository, error) {
	return initWith(ctx, st, password, host, defaultCost)
}

func initWith(ctx context.Context, st store.Store, password []byte, host Host, cost scryptCost) (*Repository, error) {
	for _, name := range []string{configFile, keysFolder, snapsFolder} {
		switch there, err := exists(ctx, st, name); {
		case err != nil:
			return nil, fmt.Errorf("init repository: %w", err)
		case there:
			return nil, fmt.Errorf("init repository: %s: %w", name, ballast.ErrExists)
		}
	}
	master, c := newSecret(), newConfig()
	key, err := putKey(ctx, st, master, password, host, cost)
	if err != nil {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	r, err := newRepository(st, master, c)
	if err != nil {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	if err := r.putConfig(ctx); err != nil {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	r.key, r.cost = key.id, cost
	return r, nil
}

// Open opens a repository: [ErrWrongPassword] where no key opens with the password,
// [ballast.ErrNotFound] where there is no repository.
func Open(ctx context.Context, st store.Store, password []byte) (*Repository, error) {
	switch there, err := exists(ctx, st, configFile); {
	case err != nil:
		return nil, fmt.Errorf("open repository: %w", err)
	case !there:
		return nil, fmt.Errorf("open repository: %s: %w", configFile, ballast.ErrNotFound)
	}
	master, keyID, err := openKeys(ctx, st, password)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	r, err := newRepository(st, master, config{})
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if r.config, err = r.getConfig(ctx); err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	r.key = keyID
	return r, nil
}

func newRepository(st store.Store, master secret, c config) (*Repository, error) {
	s, err := master.sealer()
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	return &Repository{
		store: st, config: c, master: master, sealer: s, codec: codec, cost: defaultCost, target: packTarget,
		index: newIndex(), pool: newBuffers(),
		held: map[*Lock]ID{}, since: map[ID]time.Time{},
	}, nil
}

// fresh is the same repository, of which nothing was read yet.
func (r *Repository) fresh() *Repository {
	return &Repository{
		store: r.store, config: r.config, master: r.master, sealer: r.sealer, codec: r.codec,
		cost: r.cost, target: r.target, pool: r.pool, index: newIndex(),
		held: map[*Lock]ID{}, since: map[ID]time.Time{},
	}
}

// getConfig reads and verifies the config.
func (r *Repository) getConfig(ctx context.Context) (config, error) {
	data, err := getSmall(ctx, r.store, configFile)
	if err != nil {
		return config{}, err
	}
	plain, err := r.sealer.unseal(data)
	if err != nil {
		return config{}, &DamageError{File: configFile, What: "it was not sealed with this repository's key", Err: err}
	}
	return decodeConfig(plain)
}

// putConfig stores the config, as the last thing of a new repository. Of two that
// are made at once, one succeeds.
func (r *Repository) putConfig(ctx context.Context) error {
	plain, err := r.config.encode()
	if err != nil {
		return err
	}
	if err := r.store.Create(ctx, configFile, r.sealer.seal(plain)); err != nil {
		return fmt.Errorf("store %s: %w", configFile, err)
	}
	return nil
}

// getSmall reads a file whose name says nothing about its bytes.
func getSmall(ctx context.Context, st store.Store, name string) ([]byte, error) {
	for object, err := range st.List(ctx, name) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", name, err)
		}
		if object.Name != name {
			continue
		}
		if object.Size > maxSmall {
			return nil, &DamageError{File: name, What: fmt.Sprintf("it has %d bytes, more than the %d that are allowed", object.Size, maxSmall)}
		}
		data, err := st.Get(ctx, name, 0, object.Size)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return data, nil
	}
	return nil, fmt.Errorf("read %s: %w", name, ballast.ErrNotFound)
}

// ID returns the repository's ID, 64 hexadecimal digits; it never changes.
func (r *Repository) ID() string { return r.config.ID }

// thisHost is who we are to other users of the repository.
func thisHost() Host {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return Host{Name: name, User: "ballast"}
}

// errNoKey is what openKeys reports when there is nothing to try.
var errNoKey = errors.New("the repository has no key: what is in it cannot be read any more")
