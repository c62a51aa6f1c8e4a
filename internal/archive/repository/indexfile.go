package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ballast-io/ballast"
)

// indexParallel files are read at once; each may take tens of MiB until it is decoded.
const indexParallel = 4

// maxIndexBlobs are in one index file, but for a pack that has more.
const maxIndexBlobs = 50_000

// The JSON of an index file.
type (
	indexJSON struct {
		Packs []packJSON `json:"packs"`
	}
	packJSON struct {
		ID    ID         `json:"id"`
		Blobs []blobJSON `json:"blobs"`
	}
	blobJSON struct {
		ID     ID     `json:"id"`
		Type   Type   `json:"type"`
		Offset uint32 `json:"offset"`
		Length uint32 `json:"length"`
		Plain  uint32 `json:"uncompressed_length,omitempty"`
	}
)

// encodeIndex returns the JSON of an index file.
func encodeIndex(packs []indexedPack) ([]byte, error) {
	x := indexJSON{Packs: make([]packJSON, len(packs))}
	for i, p := range packs {
		x.Packs[i] = packJSON{ID: p.id, Blobs: make([]blobJSON, len(p.blobs))}
		for j, b := range p.blobs {
			x.Packs[i].Blobs[j] = blobJSON{b.id, b.typ, b.offset, b.length, b.plain}
		}
	}
	return json.Marshal(x)
}

// decodeIndex reads an index file, and refuses what no pack can be.
func decodeIndex(data []byte) ([]indexedPack, error) {
	var x indexJSON
	if err := decodeJSON(data, &x); err != nil {
		return nil, fmt.Errorf("decode index: %w", err)
	}
	packs := make([]indexedPack, len(x.Packs))
	for i, p := range x.Packs {
		blobs, err := placed(p.Blobs)
		if err != nil {
			return nil, fmt.Errorf("decode index: pack %s: %w", p.ID.Short(), err)
		}
		if p.ID.IsZero() {
			return nil, fmt.Errorf("decode index: %w: a pack has no id", ballast.ErrInvalid)
		}
		packs[i] = indexedPack{p.ID, blobs}
	}
	return packs, nil
}

// placed checks the blobs of a pack, and puts them in the order of their offsets.
func placed(in []blobJSON) ([]placedBlob, error) {
	blobs := make([]placedBlob, len(in))
	for i, b := range in {
		switch {
		case b.ID.IsZero():
			return nil, fmt.Errorf("%w: a blob has no id", ballast.ErrInvalid)
		case b.Length < Overhead || b.Length > maxBlob+Overhead || b.Plain > maxBlob:
			return nil, fmt.Errorf("%w: blob %s of %d bytes is none", ballast.ErrInvalid, b.ID.Short(), b.Length)
		case b.Offset > math.MaxUint32-b.Length:
			return nil, fmt.Errorf("%w: blob %s ends beyond what a pack can be", ballast.ErrInvalid, b.ID.Short())
		}
		blobs[i] = placedBlob{packBlob{b.ID, b.Type, b.Length, b.Plain}, b.Offset}
	}
	slices.SortStableFunc(blobs, func(a, b placedBlob) int { return int(int64(a.offset) - int64(b.offset)) })
	for i := 1; i < len(blobs); i++ {
		if blobs[i-1].offset+blobs[i-1].length > blobs[i].offset {
			return nil, fmt.Errorf("%w: blobs %s and %s overlap", ballast.ErrInvalid, blobs[i-1].id.Short(), blobs[i].id.Short())
		}
	}
	return blobs, nil
}

// LoadIndex makes the index in memory what the store has: it reads index files that
// were not read yet, and forgets those that are no more. On an error the index
// is incomplete, never wrong; what is damaged is in the error.
func (r *Repository) LoadIndex(ctx context.Context) error {
	bad, err := r.readIndex(ctx)
	if err = errors.Join(append(bad, err)...); err != nil {
		return fmt.Errorf("load index: %w", err)
	}
	return nil
}

// readIndex is LoadIndex that tells the damaged files from what kept it from coming to
// its end. Without a lock, a prune may replace files between the list and the read: then
// the new ones are there already, and the list is made again.
func (r *Repository) readIndex(ctx context.Context) (bad []error, err error) {
	const tries = 5
	for range tries {
		if bad, err = r.readIndexOnce(ctx); !errors.Is(err, ballast.ErrNotFound) {
			return bad, err
		}
	}
	return bad, err
}

func (r *Repository) readIndexOnce(ctx context.Context) (bad []error, err error) {
	known := r.index.known() // before the list: what is added meanwhile is not gone
	files, err := list(ctx, r.store, indexFolder)
	if err != nil {
		return nil, err
	}
	fresh, gone := newFiles(files, known)
	bad, err = each(ctx, indexParallel, fresh, func(ctx context.Context, f file) error {
		packs, err := r.getIndex(ctx, f)
		if err == nil {
			r.index.add(f.id, packs)
		}
		return err
	})
	if err != nil {
		return bad, err
	}
	// Only now: what replaces a file is in already.
	r.index.forget(gone)
	return bad, nil
}

// getIndex reads one index file.
func (r *Repository) getIndex(ctx context.Context, f file) ([]indexedPack, error) {
	data, err := r.getSealed(ctx, indexFolder, f, maxUnpacked)
	if err != nil {
		return nil, err
	}
	packs, err := decodeIndex(data)
	if err != nil {
		return nil, &DamageError{File: indexFolder + f.id.String(), What: "it cannot be read", Err: err}
	}
	return packs, nil
}

// putIndex stores what packs hold, in as many index files as it takes, and takes
// each into the index in memory once it is durable (A1).
func (r *Repository) putIndex(ctx context.Context, packs []indexedPack) ([]ID, error) {
	var files []ID
	for _, some := range portions(packs) {
		data, err := encodeIndex(some)
		if err != nil {
			return files, err
		}
		id, err := r.putSealed(ctx, indexFolder, data)
		if err != nil {
			return files, err
		}
		files = append(files, id)
		r.index.add(id, some)
	}
	return files, nil
}

// portions cuts a list of packs where an index file is full. A pack is never cut.
func portions(packs []indexedPack) (cut [][]indexedPack) {
	begin, blobs := 0, 0
	for i, p := range packs {
		if i > begin && blobs+len(p.blobs) > maxIndexBlobs {
			cut = append(cut, packs[begin:i])
			begin, blobs = i, 0
		}
		blobs += len(p.blobs)
	}
	if begin < len(packs) {
		cut = append(cut, packs[begin:])
	}
	return cut
}

// newFiles compares the files of a folder with those that are known.
func newFiles(there []file, known []ID) (fresh []file, gone []ID) {
	is := make(map[ID]bool, len(known))
	for _, id := range known {
		is[id] = true
	}
	for _, f := range there {
		if is[f.id] {
			delete(is, f.id)
			continue
		}
		fresh = append(fresh, f)
	}
	for id := range is {
		gone = append(gone, id)
	}
	return fresh, gone
}
