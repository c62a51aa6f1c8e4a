package repository

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ballast-io/ballast"
)

// HasBlob reports whether the index names a blob.
func (r *Repository) HasBlob(t Type, id ID) bool { return r.index.has(blobID{t, id}) }

// BlobSize returns the size of a blob's content in bytes, and whether the index
// names it.
func (r *Repository) BlobSize(t Type, id ID) (int64, bool) {
	places := r.index.locate(blobID{t, id})
	if len(places) == 0 {
		return 0, false
	}
	return places[0].size(), true
}

// LoadBlob returns a blob's content, which is what its ID says (A2), in new memory.
// A blob that the index does not name is a [ballast.ErrNotFound]; one of which there
// is no good copy is a [*DamageError]. Safe for concurrent use.
func (r *Repository) LoadBlob(ctx context.Context, t Type, id ID) ([]byte, error) {
	b := blobID{t, id}
	data, err := r.loadAny(ctx, r.index.locate(b))
	if errors.Is(err, errGone) {
		// Somebody may have pruned since the index was read: the blob is elsewhere.
		if _, again := r.readIndex(ctx); again == nil {
			data, err = r.loadAny(ctx, r.index.locate(b))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("load %v %s: %w", t, id.Short(), err)
	}
	return data, nil
}

// loadAny reads a blob from the first of its places where it is whole.
func (r *Repository) loadAny(ctx context.Context, places []location) ([]byte, error) {
	if len(places) == 0 {
		return nil, fmt.Errorf("the index does not name it: %w", ballast.ErrNotFound)
	}
	var failed []error
	for _, at := range places {
		data, err := r.loadFrom(ctx, at)
		if err == nil {
			return data, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// errGone reports a pack that the index names and the store has not.
var errGone = errors.New("it is missing")

// loadFrom reads a blob from one of its places.
func (r *Repository) loadFrom(ctx context.Context, at location) ([]byte, error) {
	name := packFileName(at.pack)
	sealed, err := r.store.Get(ctx, name, int64(at.offset), int64(at.length))
	if errors.Is(err, ballast.ErrNotFound) {
		// A pack that the index names is there, or the repository is damaged. It
		// must not look like a blob that never was.
		return nil, &DamageError{File: name, What: "the index names it", Err: errGone}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && r.isCut(ctx, at) {
		return nil, &DamageError{File: name, What: fmt.Sprintf("it ends before blob %s in it does", at.id.Short()), Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	data, err := r.openBlob(sealed, at.packBlob)
	if err != nil {
		return nil, &DamageError{File: name, What: fmt.Sprintf("blob %s in it", at.id.Short()), Err: err}
	}
	return data, nil
}

// isCut tells a pack that is too short for a blob from an answer that was cut: only
// the latter may come whole the next time.
func (r *Repository) isCut(ctx context.Context, at location) bool {
	for object, err := range r.store.List(ctx, packFileName(at.pack)) {
		if err != nil {
			return false
		}
		return object.Size < int64(at.offset)+int64(at.length)
	}
	return false
}

// openBlob unseals, decompresses and verifies a blob (A2). It may use sealed's memory.
func (r *Repository) openBlob(sealed []byte, b packBlob) ([]byte, error) {
	data, err := r.sealer.unseal(sealed)
	if err != nil {
		return nil, err
	}
	if b.plain > 0 {
		if data, err = r.codec.decompress(data, b.plain); err != nil {
			return nil, err
		}
	}
	if got := Hash(data); got != b.id {
		return nil, fmt.Errorf("its content hashes to %s", got.Short())
	}
	return data, nil
}
