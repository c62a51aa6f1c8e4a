package repository

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// maxPackRead is the size of a pack that is read whole: the largest that restic can be
// told to write, and a large blob.
const maxPackRead = 192 << 20

// packFiles returns the packs in the store and their sizes in bytes.
func (r *Repository) packFiles(ctx context.Context) (map[ID]int64, error) {
	sizes := map[ID]int64{}
	for object, err := range r.store.List(ctx, dataFolder) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dataFolder, err)
		}
		id, err := ParseID(object.Name[max(0, len(object.Name)-64):])
		if err != nil || packFileName(id) != object.Name {
			continue // not ours
		}
		sizes[id] = object.Size
	}
	return sizes, nil
}

// readPack reads a whole pack of this size.
func (r *Repository) readPack(ctx context.Context, id ID, size int64) ([]byte, error) {
	name := packFileName(id)
	if size > maxPackRead {
		return nil, &DamageError{File: name, What: fmt.Sprintf("it has %d bytes; a pack has at most %d", size, int64(maxPackRead))}
	}
	data, err := r.store.Get(ctx, name, 0, size)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// verifyPack checks everything about a pack: its name, its header, and that it is
// what the index says. It returns what is wrong with the whole, and does
// not look at the blobs.
func (r *Repository) verifyPack(id ID, data []byte, indexed []placedBlob) error {
	if got := Hash(data); got != id {
		return fmt.Errorf("its bytes are not those that were stored: they hash to %s", got.Short())
	}
	blobs, err := r.packHeader(data)
	if err != nil {
		return err
	}
	if !slices.Equal(blobs, indexed) {
		return errors.New("the index has other blobs in it than its header")
	}
	return nil
}

// packHeader returns the blobs of a pack by its own account.
func (r *Repository) packHeader(data []byte) ([]placedBlob, error) {
	if len(data) < trailer {
		return nil, errors.New("it is shorter than any pack")
	}
	body := data[:len(data)-trailer]
	n := int64(binary.LittleEndian.Uint32(data[len(body):]))
	if n > int64(len(body)) || n > maxHeader {
		return nil, fmt.Errorf("its header of %d bytes is longer than it", n)
	}
	begin := int64(len(body)) - n
	plain, err := r.sealer.unseal(slices.Clone(body[begin:]))
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	blobs, err := decodeHeader(plain)
	if err != nil {
		return nil, err
	}
	if packSize(blobs) != int64(len(data)) {
		return nil, errors.New("its blobs and its header are not all of it")
	}
	return blobs, nil
}
