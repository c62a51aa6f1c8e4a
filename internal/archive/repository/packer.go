package repository

import (
	"context"
	"encoding/binary"
	"fmt"
)

// packer collects sealed blobs of one type until they are a pack.
type packer struct {
	data  []byte
	blobs []placedBlob
}

// add appends a sealed blob.
func (p *packer) add(b packBlob, sealed []byte) {
	b.length = uint32(len(sealed))
	p.blobs = append(p.blobs, placedBlob{b, uint32(len(p.data))})
	p.data = append(p.data, sealed...)
}

// full reports whether the pack has reached its target size in bytes.
func (p *packer) full(target int) bool {
	return len(p.data) >= target || len(p.blobs) >= maxPackBlobs
}

// finish appends the header, and returns the pack.
func (p *packer) finish(s *sealer) indexedPack {
	header := s.seal(encodeHeader(p.blobs))
	p.data = append(p.data, header...)
	p.data = binary.LittleEndian.AppendUint32(p.data, uint32(len(header)))
	return indexedPack{Hash(p.data), p.blobs}
}

// putPack makes a pack durable, and takes its memory back.
func (r *Repository) putPack(ctx context.Context, p *packer) (indexedPack, error) {
	defer func() { give(r.pool.packs, p.data, 2*packTarget) }()
	pack := p.finish(r.sealer)
	if seeded(indexBeforePack) {
		if _, err := r.putIndex(ctx, []indexedPack{pack}); err != nil {
			return indexedPack{}, err
		}
	}
	if err := r.store.Put(ctx, packFileName(pack.id), p.data); err != nil {
		return indexedPack{}, fmt.Errorf("store %s: %w", packFileName(pack.id), err)
	}
	return pack, nil
}
