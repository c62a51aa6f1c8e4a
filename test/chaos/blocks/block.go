package blocks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"

	"github.com/ballast-io/ballast/test/chaos/history"
)

// Size is that of a block.
const Size = 4096

// A block, little-endian:
//
//	+-----------+-------------+-----------+-----------+--------------+
//	| magic u64 | value u64   | file u32  | block u32 | random …     | crc u32
//	+-----------+-------------+-----------+-----------+--------------+
const magic = 0x4b4c42_2e534f4843 // "CHOS.BLK"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Fill makes p, of one block, that block of the write of a value.
func Fill(p []byte, value history.Value, file, block uint32) {
	binary.LittleEndian.PutUint64(p, magic)
	binary.LittleEndian.PutUint64(p[8:], uint64(value))
	binary.LittleEndian.PutUint32(p[16:], file)
	binary.LittleEndian.PutUint32(p[20:], block)
	rng := rand.NewPCG(uint64(value), uint64(block))
	for i := 24; i+8 < Size; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
	}
	binary.LittleEndian.PutUint32(p[Size-4:], crc32.Checksum(p[:Size-4], castagnoli))
}

// ErrDamaged is returned for a block that no write made.
var ErrDamaged = errors.New("the block is damaged")

// Read returns whose block p is. One of zeroes is of the value 0.
func Read(p []byte, file, block uint32) (history.Value, error) {
	if isZero(p) {
		return 0, nil
	}
	if sum := crc32.Checksum(p[:Size-4], castagnoli); binary.LittleEndian.Uint64(p) != magic || binary.LittleEndian.Uint32(p[Size-4:]) != sum {
		return 0, fmt.Errorf("%w: it begins with %x", ErrDamaged, p[:24])
	}
	if f, b := binary.LittleEndian.Uint32(p[16:]), binary.LittleEndian.Uint32(p[20:]); f != file || b != block {
		return 0, fmt.Errorf("%w: it is block %d of file %d, not %d of %d", ErrDamaged, b, f, block, file)
	}
	return history.Value(binary.LittleEndian.Uint64(p[8:])), nil
}

func isZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
