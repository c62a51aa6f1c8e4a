package repository

import "encoding/binary"

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

func (p *packer) full() bool {
	return len(p.data) >= packTarget || len(p.blobs) >= maxPackBlobs
}

// finish appends the header, and returns the pack.
func (p *packer) finish(s *sealer) indexedPack {
	header := s.seal(encodeHeader(p.blobs))
	p.data = append(p.data, header...)
	p.data = binary.LittleEndian.AppendUint32(p.data, uint32(len(header)))
	return indexedPack{Hash(p.data), p.blobs}
}
