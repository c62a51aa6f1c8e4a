package repository

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ballast-io/ballast"
)

// The kinds of entries of a pack's header, and their sizes in bytes.
const (
	headerData = iota
	headerTree
	headerDataCompressed
	headerTreeCompressed

	plainEntry      = 1 + 4 + 32
	compressedEntry = 1 + 4 + 4 + 32
	maxHeader       = 16 << 20 // sealed
	trailer         = 4        // the header's length
)

// headerSize returns how many bytes a pack has behind its blobs.
func headerSize(blobs []placedBlob) int64 {
	size := int64(Overhead + trailer)
	for _, b := range blobs {
		size += entrySize(b.packBlob)
	}
	return size
}

func entrySize(b packBlob) int64 {
	if b.plain > 0 {
		return compressedEntry
	}
	return plainEntry
}

// packSize returns how many bytes a pack of these blobs has.
func packSize(blobs []placedBlob) int64 {
	size := headerSize(blobs)
	for _, b := range blobs {
		size += int64(b.length)
	}
	return size
}

// encodeHeader returns the plain header of a pack.
func encodeHeader(blobs []placedBlob) []byte {
	var h []byte
	for _, b := range blobs {
		if b.plain > 0 {
			h = append(h, byte(b.typ)+headerDataCompressed)
			h = binary.LittleEndian.AppendUint32(h, b.length)
			h = binary.LittleEndian.AppendUint32(h, b.plain)
		} else {
			h = append(h, byte(b.typ)+headerData)
			h = binary.LittleEndian.AppendUint32(h, b.length)
		}
		h = append(h, b.id[:]...)
	}
	return h
}

// decodeHeader reads the plain header of a pack. The blobs begin at 0 and follow one
// another.
func decodeHeader(h []byte) (blobs []placedBlob, err error) {
	offset := uint64(0)
	for len(h) > 0 {
		var b packBlob
		if b, h, err = decodeEntry(h); err != nil {
			return nil, fmt.Errorf("decode header: entry %d: %w", len(blobs), err)
		}
		blobs = append(blobs, placedBlob{b, uint32(offset)})
		if offset += uint64(b.length); offset > math.MaxUint32 {
			return nil, fmt.Errorf("decode header: %w: the blobs are longer than a pack can be", ballast.ErrInvalid)
		}
	}
	return blobs, nil
}

// decodeEntry reads the entry that a header begins with.
func decodeEntry(h []byte) (b packBlob, rest []byte, err error) {
	kind := h[0]
	size := plainEntry
	if kind >= headerDataCompressed {
		size = compressedEntry
	}
	if kind > headerTreeCompressed || len(h) < size {
		return b, nil, fmt.Errorf("%w: it is cut short, or of an unknown kind: %d", ballast.ErrInvalid, kind)
	}
	b.typ = Type(kind & 1)
	b.length = binary.LittleEndian.Uint32(h[1:])
	if kind >= headerDataCompressed {
		b.plain = binary.LittleEndian.Uint32(h[5:])
	}
	b.id = ID(h[size-32 : size])
	if b.length < Overhead || b.length > maxBlob+Overhead || b.plain > maxBlob || (kind >= headerDataCompressed && b.plain == 0) {
		return b, nil, fmt.Errorf("%w: blob %s of %d bytes is none", ballast.ErrInvalid, b.id.Short(), b.length)
	}
	return b, h[size:], nil
}
