package repository

import (
	"context"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// Folders of a repository in the store.
const (
	root          = "repo/"
	configFile    = root + "config"
	keysFolder    = root + "keys/"
	indexFolder   = root + "index/"
	snapsFolder   = root + "snapshots/"
	locksFolder   = root + "locks/"
	dataFolder    = root + "data/"
	maxFilesKnown = 1 << 22 // of one folder (A5)
)

// packFileName returns the name of a pack in the store.
func packFileName(id ID) string {
	s := id.String()
	return dataFolder + s[:2] + "/" + s
}

// file is a file of a repository whose name is the hash of its bytes.
type file struct {
	id   ID
	size int64 // bytes
}

// list returns the files of a folder. What has another name is nobody's business:
// a store may keep its own things beside ours.
func list(ctx context.Context, st store.Store, folder string) ([]file, error) {
	var files []file
	for object, err := range st.List(ctx, folder) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", folder, err)
		}
		id, err := ParseID(path.Base(object.Name))
		if err != nil {
			continue // not ours
		}
		if len(files) == maxFilesKnown {
			return nil, fmt.Errorf("list %s: %w: it has more than %d files", folder, ballast.ErrInvalid, maxFilesKnown)
		}
		files = append(files, file{id, object.Size})
	}
	return files, nil
}

// get reads a whole file of up to limit bytes and verifies its name (A2, A5).
func get(ctx context.Context, st store.Store, folder string, f file, limit int64) ([]byte, error) {
	name := folder + f.id.String()
	if f.size > limit {
		return nil, &DamageError{File: name, What: fmt.Sprintf("it has %d bytes, more than the %d that are allowed", f.size, limit)}
	}
	data, err := st.Get(ctx, name, 0, f.size)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if got := Hash(data); got != f.id {
		return nil, &DamageError{File: name, What: "its bytes are not those that were stored: they hash to " + got.Short()}
	}
	return data, nil
}

// getSealed reads the JSON in a sealed file.
func (r *Repository) getSealed(ctx context.Context, folder string, f file, limit int64) ([]byte, error) {
	data, err := get(ctx, r.store, folder, f, limit)
	if err != nil {
		return nil, err
	}
	name := folder + f.id.String()
	plain, err := r.sealer.unseal(data)
	if err != nil {
		return nil, &DamageError{File: name, What: "it was not sealed with this repository's key", Err: err}
	}
	json, err := r.codec.unpackFile(plain)
	if err != nil {
		return nil, &DamageError{File: name, What: "it cannot be read", Err: err}
	}
	return json, nil
}

// putSealed stores JSON as a sealed file, and returns its name.
func (r *Repository) putSealed(ctx context.Context, folder string, json []byte) (ID, error) {
	sealed := r.sealer.seal(r.codec.packFile(json))
	id := Hash(sealed)
	if err := r.store.Put(ctx, folder+id.String(), sealed); err != nil {
		return ID{}, fmt.Errorf("store %s: %w", folder+id.String(), err)
	}
	return id, nil
}

// exists reports whether there is any object whose name begins with prefix.
func exists(ctx context.Context, st store.Store, prefix string) (bool, error) {
	for _, err := range st.List(ctx, prefix) {
		if err != nil {
			return false, fmt.Errorf("list %s: %w", prefix, err)
		}
		return true, nil
	}
	return false, nil
}

// isDamage reports whether an error is about bytes, not about reaching them.
func isDamage(err error) bool {
	var damage *DamageError
	return errors.As(err, &damage)
}

// each reads files, some at once. It returns what is damaged apart from what kept it from
// coming to its end.
func each(ctx context.Context, parallel int, files []file, read func(context.Context, file) error) (bad []error, err error) {
	errs := make([]error, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, f := range files {
		group.Go(func() error {
			if errs[i] = read(ctx, f); isDamage(errs[i]) {
				return nil
			}
			return errs[i]
		})
	}
	err = group.Wait()
	for _, e := range errs {
		if isDamage(e) {
			bad = append(bad, e)
		}
	}
	return bad, err
}
