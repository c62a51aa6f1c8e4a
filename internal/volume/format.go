package volume

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/ballast-io/ballast"
)

// FormatVersion is the newest version of the on-disk format. This package reads
// every version from 1 on, and writes the oldest that can say what there is to say.
const FormatVersion = 2

const (
	segmentVersion = 1

	blockSize = ballast.BlockSize

	segmentMagic = 0x4c425347 // "GSBL" as bytes: a segment's first block
	batchMagic   = 0x4c424254 // "TBBL": a batch's first block

	batchHeaderSize = 48
	recordSize      = 24
	maxRecords      = (blockSize - batchHeaderSize) / recordSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// position is the place of a block in the log, counted from the log's
// beginning as if no segment were ever used anew: it is never given out twice.
type position uint64

// kind says what a record does.
type kind uint8

const (
	kindWrite   kind = 1 // the blocks are the record's data
	kindDiscard kind = 2 // the blocks read as zeros
)

// record is one write or discard.
type record struct {
	lsn   ballast.LSN
	kind  kind
	block ballast.Block // the first one
	count uint32        // how many blocks
	crc   uint32        // CRC-32C of the data
	pos   position      // of the data; of the batch for a discard
}

// dataBlocks is how many blocks of data follow the record in the log.
func (r record) dataBlocks() uint64 {
	if r.kind == kindWrite {
		return uint64(r.count)
	}
	return 0
}

// segmentHeader is the first block of a segment.
type segmentHeader struct {
	seq   uint64      // counts the segments ever begun, from 1
	first ballast.LSN // of the segment's first record
	epoch ballast.Epoch
}

// batchHeader is the first block of a batch: records that are written to the
// log in one piece. Their data follow it, in order.
type batchHeader struct {
	epoch   ballast.Epoch
	first   ballast.LSN
	durable ballast.LSN // when the batch was written; a claim that recovery can hold the log to
	records []record
}

// blocks is the size of the whole batch, its header included.
func (h *batchHeader) blocks() uint64 {
	n := uint64(1)
	for _, r := range h.records {
		n += r.dataBlocks()
	}
	return n
}

// checksum covers a header block after its magic and checksum. It is keyed by
// the volume's salt and the block's position, so that neither what an earlier
// use of the segment left, nor a copy of a log that a user stores in the
// volume, is ever taken for a header.
func checksum(salt uint64, pos position, block []byte) uint32 {
	var key [16]byte
	binary.LittleEndian.PutUint64(key[:], salt)
	binary.LittleEndian.PutUint64(key[8:], uint64(pos))
	return crc32.Update(crc32.Checksum(key[:], castagnoli), castagnoli, block[8:blockSize])
}

func seal(block []byte, magic uint32, salt uint64, pos position) {
	binary.LittleEndian.PutUint32(block, magic)
	binary.LittleEndian.PutUint32(block[4:], checksum(salt, pos, block))
}

func isSealed(block []byte, magic uint32, salt uint64, pos position) bool {
	return binary.LittleEndian.Uint32(block) == magic &&
		binary.LittleEndian.Uint32(block[4:]) == checksum(salt, pos, block)
}

func (h segmentHeader) encode(block []byte, salt uint64) {
	clear(block[:blockSize])
	binary.LittleEndian.PutUint32(block[8:], segmentVersion)
	binary.LittleEndian.PutUint64(block[16:], h.seq)
	binary.LittleEndian.PutUint64(block[24:], uint64(h.first))
	binary.LittleEndian.PutUint64(block[32:], uint64(h.epoch))
	seal(block, segmentMagic, salt, 0)
}

// decodeSegmentHeader reports false for a block that is no segment's first.
func decodeSegmentHeader(block []byte, salt uint64) (h segmentHeader, ok bool) {
	if !isSealed(block, segmentMagic, salt, 0) || binary.LittleEndian.Uint32(block[8:]) != segmentVersion {
		return h, false
	}
	h.seq = binary.LittleEndian.Uint64(block[16:])
	h.first = ballast.LSN(binary.LittleEndian.Uint64(block[24:]))
	h.epoch = ballast.Epoch(binary.LittleEndian.Uint64(block[32:]))
	return h, h.seq > 0 && h.first > 0
}

// encode fills the first block of a batch that stands at pos.
func (h *batchHeader) encode(block []byte, salt uint64, pos position) {
	clear(block[:blockSize])
	binary.LittleEndian.PutUint64(block[8:], uint64(h.epoch))
	binary.LittleEndian.PutUint64(block[16:], uint64(h.first))
	binary.LittleEndian.PutUint64(block[24:], uint64(h.durable))
	binary.LittleEndian.PutUint32(block[32:], uint32(len(h.records)))
	for i, r := range h.records {
		b := block[batchHeaderSize+i*recordSize:]
		binary.LittleEndian.PutUint64(b, uint64(r.block))
		binary.LittleEndian.PutUint32(b[8:], r.count)
		binary.LittleEndian.PutUint32(b[12:], r.crc)
		b[16] = byte(r.kind)
	}
	seal(block, batchMagic, salt, pos)
}

// decodeBatchHeader reads the first block of a batch that stands at pos, and
// reports false for a block that is none. What it accepts is what encode wrote:
// the checksum covers it all.
func decodeBatchHeader(block []byte, salt uint64, pos position) (*batchHeader, bool) {
	if !isSealed(block, batchMagic, salt, pos) {
		return nil, false
	}
	h := &batchHeader{
		epoch:   ballast.Epoch(binary.LittleEndian.Uint64(block[8:])),
		first:   ballast.LSN(binary.LittleEndian.Uint64(block[16:])),
		durable: ballast.LSN(binary.LittleEndian.Uint64(block[24:])),
	}
	n := binary.LittleEndian.Uint32(block[32:])
	if n == 0 || n > maxRecords || h.first == 0 {
		return nil, false
	}
	next := pos + 1
	for i := range int(n) {
		r := decodeRecord(block[batchHeaderSize+i*recordSize:])
		r.lsn, r.pos = h.first+ballast.LSN(i), pos
		if r.kind == kindWrite {
			r.pos = next
		}
		if r.kind != kindWrite && r.kind != kindDiscard || r.count == 0 {
			return nil, false
		}
		next += position(r.dataBlocks())
		h.records = append(h.records, r)
	}
	return h, true
}

func decodeRecord(b []byte) record {
	return record{
		kind:  kind(b[16]),
		block: ballast.Block(binary.LittleEndian.Uint64(b)),
		count: binary.LittleEndian.Uint32(b[8:]),
		crc:   binary.LittleEndian.Uint32(b[12:]),
	}
}
