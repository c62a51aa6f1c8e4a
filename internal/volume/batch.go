package volume

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	maxBatchBlocks = 1 + 256 // header and 1 MiB of data
	maxBuffers     = 4       // batches in memory, the one being filled included
)

// batch is a run of records on its way to a segment. Until it is written there,
// reads of its blocks are served from its memory.
type batch struct {
	seg    *segment
	pos    position // of its header block in the log
	header batchHeader
	buf    []byte // header block and data; its capacity is maxBatchBlocks
	begins bool   // it is the first of its segment, whose header goes with it
}

func (b *batch) end() position { return b.pos + position(len(b.buf)/blockSize) }

// holds reports whether the block of data at pos is in the batch's memory.
func (b *batch) holds(pos position) bool { return b.pos < pos && pos < b.end() }

// data returns the memory of n blocks of data from pos on.
func (b *batch) data(pos position, n uint64) []byte {
	off := uint64(pos-b.pos) * blockSize
	return b.buf[off : off+n*blockSize]
}

// fits reports whether a record with n blocks of data can be added.
func (b *batch) fits(n uint64) bool {
	blocks := uint64(len(b.buf))/blockSize + n
	return len(b.header.records) < maxRecords && blocks <= maxBatchBlocks &&
		uint64(b.pos)%b.seg.blocks+blocks <= b.seg.blocks
}

// add appends a record and returns where it stands in the log.
func (b *batch) add(r record, data []byte) position {
	r.pos = b.pos
	if r.kind == kindWrite {
		r.pos = b.end()
	}
	b.buf = append(b.buf, data...)
	b.header.records = append(b.header.records, r)
	return r.pos
}

// encode seals the batch's header over its records.
func (b *batch) encode(salt uint64) { b.header.encode(b.buf, salt, b.pos) }

// dataSum is the checksum that a record carries for its data.
func dataSum(data []byte) uint32 {
	if len(data) == 0 {
		return 0
	}
	return crc32.Checksum(data, castagnoli)
}

// newSalt turns random bytes into a salt.
func newSalt(b [8]byte) uint64 { return binary.LittleEndian.Uint64(b[:]) }
