package delta

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// The encoding. All numbers are little-endian; a CRC is CRC-32C of what stands
// before it and behind the CRC before.
//
//	delta  magic u32 | version u32 | epoch u64 | after u64 | groups u32 | id length u32 | id, padded to 64 | crc u32
//	group  last u64 | time i64, in ns since 1970, 0: no point | size u64 | runs u32 | data u32 | crc u32
//	       runs: first u64 | count u64, bit 63: zero
//	       data | crc u32
const (
	magic   = 0x544c4442 // "BDLT"
	version = 1

	headSize  = 32 + maxVolumeID
	groupSize = 32
	runSize   = 16
	crcSize   = 4

	zeroRun = 1 << 63
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode writes d to w, for [Decode]. A d that is not valid is not written.
func (d *Delta) Encode(w io.Writer) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("encode delta: %w", err)
	}
	if _, err := w.Write(withCRC(d.encodeHead())); err != nil {
		return fmt.Errorf("encode delta: %w", err)
	}
	for i := range d.Groups {
		if err := d.Groups[i].encode(w); err != nil {
			return fmt.Errorf("encode delta: group %d: %w", i, err)
		}
	}
	return nil
}

// EncodedSize returns how many bytes Encode writes.
func (d *Delta) EncodedSize() (n int64) {
	n = headSize + crcSize
	for i := range d.Groups {
		n += groupSize + 2*crcSize + int64(len(d.Groups[i].Runs))*runSize + int64(len(d.Groups[i].Data))
	}
	return n
}

func (d *Delta) encodeHead() []byte {
	b := make([]byte, 0, headSize+crcSize)
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.Epoch))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.After))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(d.Groups)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(d.Volume)))
	b = append(b, d.Volume...)
	return b[:headSize]
}

func (g *Group) encode(w io.Writer) error {
	head := withCRC(g.encodeHead())
	runs := make([]byte, 0, len(g.Runs)*runSize)
	for _, r := range g.Runs {
		count := r.Count
		if r.Zero {
			count |= zeroRun
		}
		runs = binary.LittleEndian.AppendUint64(runs, uint64(r.First))
		runs = binary.LittleEndian.AppendUint64(runs, count)
	}
	crc := crc32.Update(crc32.Checksum(runs, castagnoli), castagnoli, g.Data)
	for _, part := range [][]byte{head, runs, g.Data, binary.LittleEndian.AppendUint32(nil, crc)} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) encodeHead() []byte {
	b := make([]byte, 0, groupSize+crcSize)
	b = binary.LittleEndian.AppendUint64(b, uint64(g.Last))
	b = binary.LittleEndian.AppendUint64(b, uint64(encodeTime(g.Time)))
	b = binary.LittleEndian.AppendUint64(b, uint64(g.Size))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(g.Runs)))
	return binary.LittleEndian.AppendUint32(b, uint32(len(g.Data)))
}

// encodeTime returns t in nanoseconds since 1970, and 0 for no time.
func encodeTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func withCRC(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}
