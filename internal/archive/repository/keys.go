package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// maxKeys are tried (A5).
const maxKeys = 64

// Key is one of the passwords that open a repository, without the password.
type Key struct {
	ID         string
	Host, User string // who added it
	Created    time.Time
	Current    bool // this repository was opened with it
}

// openKeys finds the key that a password opens.
func openKeys(ctx context.Context, st store.Store, password []byte) (secret, ID, error) {
	files, err := list(ctx, st, keysFolder)
	if err != nil {
		return secret{}, ID{}, err
	}
	if len(files) == 0 {
		return secret{}, ID{}, errNoKey
	}
	var damaged []error
	for _, f := range files[:min(len(files), maxKeys)] {
		master, err := openKey(ctx, st, f, password)
		switch {
		case err == nil:
			return master, f.id, nil
		case ctx.Err() != nil:
			return secret{}, ID{}, ctx.Err()
		case !errors.Is(err, ErrWrongPassword):
			damaged = append(damaged, err)
		}
	}
	return secret{}, ID{}, errors.Join(append(damaged, ErrWrongPassword)...)
}

// openKey tries one key.
func openKey(ctx context.Context, st store.Store, f file, password []byte) (secret, error) {
	k, err := getKey(ctx, st, f)
	if err != nil {
		return secret{}, err
	}
	return k.open(password)
}

func getKey(ctx context.Context, st store.Store, f file) (*keyFile, error) {
	data, err := get(ctx, st, keysFolder, f, maxSmall)
	if err != nil {
		return nil, err
	}
	k, err := decodeKeyFile(data)
	if err != nil {
		return nil, &DamageError{File: keysFolder + f.id.String(), What: "it cannot be read", Err: err}
	}
	return k, nil
}

// putKey seals the master key with a password, and stores it.
func putKey(ctx context.Context, st store.Store, master secret, password []byte, host Host, cost scryptCost) (file, error) {
	k, err := newKeyFile(master, password, host, cost)
	if err != nil {
		return file{}, err
	}
	data, err := k.encode()
	if err != nil {
		return file{}, err
	}
	f := file{Hash(data), int64(len(data))}
	if err := st.Put(ctx, keysFolder+f.id.String(), data); err != nil {
		return file{}, fmt.Errorf("store key %s: %w", f.id.Short(), err)
	}
	return f, nil
}

// Keys returns the keys of the repository. Those that cannot be read are in the
// error, beside the others.
func (r *Repository) Keys(ctx context.Context) ([]Key, error) {
	files, err := list(ctx, r.store, keysFolder)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var keys []Key
	var bad []error
	for _, f := range files {
		k, err := getKey(ctx, r.store, f)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		keys = append(keys, r.describe(f.id, k))
	}
	return keys, errors.Join(bad...)
}

func (r *Repository) describe(id ID, k *keyFile) Key {
	return Key{ID: id.String(), Host: k.Hostname, User: k.Username, Created: k.Created, Current: id == r.currentKey()}
}

func (r *Repository) currentKey() ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.key
}

// AddKey lets another password open the repository.
func (r *Repository) AddKey(ctx context.Context, password []byte, host Host) (Key, error) {
	id, err := r.addKey(ctx, password, host)
	if err != nil {
		return Key{}, fmt.Errorf("add key: %w", err)
	}
	return Key{ID: id.String(), Host: host.Name, User: host.User, Created: time.Now()}, nil
}

// addKey stores a key and opens the repository's master key with it: one that does
// not open would lock everybody out once the others are removed.
func (r *Repository) addKey(ctx context.Context, password []byte, host Host) (ID, error) {
	files, err := list(ctx, r.store, keysFolder)
	if err != nil {
		return ID{}, err
	}
	if len(files) >= maxKeys {
		return ID{}, fmt.Errorf("%w: there are %d keys already; remove one", ballast.ErrInvalid, len(files))
	}
	f, err := putKey(ctx, r.store, r.master, password, host, r.cost)
	if err != nil {
		return ID{}, err
	}
	if _, err := openKey(ctx, r.store, f, password); err != nil {
		return ID{}, fmt.Errorf("open with the new key: %w", err)
	}
	return f.id, nil
}

// RemoveKey makes a key's password open nothing any more. It takes the beginning of
// an ID that is the beginning of no other. The key that the repository was opened
// with, and with it the last one, is refused with [ballast.ErrInUse].
//
// Who has had the password may have kept the master key: what is in the repository
// already is no safer than before.
func (r *Repository) RemoveKey(ctx context.Context, id string) (err error) {
	lock, err := r.Lock(ctx, true)
	if err != nil {
		return fmt.Errorf("remove key: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close(context.WithoutCancel(ctx))) }()
	f, err := r.findKey(ctx, id)
	if err != nil {
		return fmt.Errorf("remove key %s: %w", id, err)
	}
	if f.id == r.currentKey() {
		return fmt.Errorf("remove key %s: %w: the repository was opened with it", f.id.Short(), ballast.ErrInUse)
	}
	if err := r.store.Delete(ctx, keysFolder+f.id.String()); err != nil {
		return fmt.Errorf("remove key %s: %w", f.id.Short(), err)
	}
	return nil
}

// findKey finds the key whose ID begins so, and sees to it that the current one is
// still there.
func (r *Repository) findKey(ctx context.Context, prefix string) (file, error) {
	files, err := list(ctx, r.store, keysFolder)
	if err != nil {
		return file{}, err
	}
	if current := r.currentKey(); !slices.ContainsFunc(files, func(f file) bool { return f.id == current }) {
		return file{}, fmt.Errorf("%w: the key that this repository was opened with is gone; open it anew", ballast.ErrInvalid)
	}
	var found []file
	for _, f := range files {
		if prefix != "" && strings.HasPrefix(f.id.String(), prefix) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return file{}, ballast.ErrNotFound
	case 1:
		return found[0], nil
	}
	return file{}, fmt.Errorf("%w: %d keys begin so", ballast.ErrInvalid, len(found))
}

// ChangePassword replaces the key that the repository was opened with: the new one is
// stored and opened before the old one is removed.
func (r *Repository) ChangePassword(ctx context.Context, password []byte, host Host) (_ Key, err error) {
	lock, err := r.Lock(ctx, true)
	if err != nil {
		return Key{}, fmt.Errorf("change password: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close(context.WithoutCancel(ctx))) }()
	id, err := r.addKey(ctx, password, host)
	if err != nil {
		return Key{}, fmt.Errorf("change password: %w", err)
	}
	r.mu.Lock()
	old := r.key
	r.key = id
	r.mu.Unlock()
	if err := r.store.Delete(ctx, keysFolder+old.String()); err != nil {
		return Key{}, fmt.Errorf("change password: the new one opens the repository, and so does the old one still: remove key %s: %w", old.Short(), err)
	}
	return Key{ID: id.String(), Host: host.Name, User: host.User, Created: time.Now(), Current: true}, nil
}
