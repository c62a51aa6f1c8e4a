package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

// magic begins every [Hello]: who speaks something else is told apart at once.
const magic = 0x50524c42 // "BLRP" as bytes

const (
	recordSize = 20
	reignSize  = 16
	stagedSize = 12
)

var errMalformed = errors.New("malformed message")

// encoder appends fields to a buffer.
type encoder struct{ b []byte }

func (e *encoder) u8(v uint8)   { e.b = append(e.b, v) }
func (e *encoder) u16(v uint16) { e.b = binary.LittleEndian.AppendUint16(e.b, v) }
func (e *encoder) u32(v uint32) { e.b = binary.LittleEndian.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64) { e.b = binary.LittleEndian.AppendUint64(e.b, v) }

func (e *encoder) bool(v bool) {
	if v {
		e.u8(1)
	} else {
		e.u8(0)
	}
}

func (e *encoder) text(s string, limit int) {
	s = s[:min(len(s), limit)]
	e.u16(uint16(len(s))) //nolint:gosec // below the limit
	e.b = append(e.b, s...)
}

func (e *encoder) lineage(l volume.Lineage) {
	e.u16(uint16(len(l))) //nolint:gosec // a lineage is trimmed long before
	for _, r := range l {
		e.u64(uint64(r.Epoch))
		e.u64(uint64(r.From))
	}
}

// decoder takes fields from a buffer. After the first that is not there, or is not
// what it may be, it fails, and returns zeros.
type decoder struct {
	b    []byte
	fail bool
}

func (d *decoder) take(n int) []byte {
	if d.fail || n > len(d.b) {
		d.fail = true
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u8() uint8 {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if p := d.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) lsn() ballast.LSN     { return ballast.LSN(d.u64()) }
func (d *decoder) epoch() ballast.Epoch { return ballast.Epoch(d.u64()) }

func (d *decoder) bool() bool {
	v := d.u8()
	d.require(v <= 1)
	return v == 1
}

func (d *decoder) size() int64 {
	v := d.u64()
	d.require(v <= uint64(MaxSize) && v%ballast.ChunkSize == 0)
	return int64(v) //nolint:gosec // below MaxSize, or the message is refused
}

func (d *decoder) chunk() uint32 {
	v := d.u32()
	d.require(int64(v) < maxChunk)
	return v
}

func (d *decoder) text(limit int) string {
	n := int(d.u16())
	d.require(n <= limit)
	return string(d.take(n))
}

func (d *decoder) lineage() volume.Lineage {
	n := int(d.u16())
	d.require(n <= MaxReigns && n*reignSize <= len(d.b))
	if d.fail || n == 0 {
		return nil
	}
	l := make(volume.Lineage, n)
	for i := range l {
		l[i] = volume.Reign{Epoch: d.epoch(), From: d.lsn()}
		d.require(l[i].Epoch > 0 && l[i].From > 0)
		d.require(i == 0 || l[i].Epoch > l[i-1].Epoch && l[i].From > l[i-1].From)
	}
	return l
}

func (d *decoder) require(ok bool) { d.fail = d.fail || !ok }

func (m *Hello) encode(e *encoder) {
	e.u32(magic)
	e.u16(m.Min)
	e.u16(m.Max)
	e.text(m.Cluster, MaxName)
	e.text(string(m.Volume), MaxName)
	e.text(string(m.Node), MaxName)
	e.u64(uint64(m.Epoch))
	e.u64(uint64(m.Size)) //nolint:gosec // a size
	e.u64(uint64(m.Last))
	e.lineage(m.Lineage)
}

func (m *Hello) decode(d *decoder) {
	d.require(d.u32() == magic)
	m.Min, m.Max = d.u16(), d.u16()
	d.require(m.Min > 0 && m.Min <= m.Max)
	m.Cluster = d.text(MaxName)
	m.Volume = ballast.VolumeID(d.text(MaxName))
	m.Node = ballast.NodeID(d.text(MaxName))
	m.Epoch, m.Size, m.Last = d.epoch(), d.size(), d.lsn()
	m.Lineage = d.lineage()
	d.require(m.Epoch > 0 && m.Volume != "" && m.Node != "")
	d.b = nil // what a later release added (W3)
}

func (m *Welcome) encode(e *encoder) {
	e.u16(m.Version)
	e.text(string(m.Node), MaxName)
	e.u64(uint64(m.Size)) //nolint:gosec // a size
	e.u64(uint64(m.Epoch))
	e.u64(uint64(m.Last))
	e.u64(uint64(m.Durable))
	e.u64(uint64(m.Applied))
	e.bool(m.Complete)
	e.lineage(m.Lineage)
}

func (m *Welcome) decode(d *decoder) {
	m.Version = d.u16()
	m.Node = ballast.NodeID(d.text(MaxName))
	m.Size, m.Epoch = d.size(), d.epoch()
	m.Last, m.Durable, m.Applied = d.lsn(), d.lsn(), d.lsn()
	m.Complete = d.bool()
	m.Lineage = d.lineage()
	d.require(m.Durable <= m.Last && m.Applied <= m.Last)
	d.b = nil // what a later release added (W3)
}

func (m *Refuse) encode(e *encoder) {
	e.u16(uint16(m.Code))
	e.u64(uint64(m.Epoch))
	e.text(m.Text, MaxText)
}

func (m *Refuse) decode(d *decoder) {
	m.Code, m.Epoch, m.Text = Code(d.u16()), d.epoch(), d.text(MaxText)
	d.b = nil // what a later release added (W3)
}

func (m *Follow) encode(e *encoder) {
	e.u64(uint64(m.Epoch))
	e.u64(uint64(m.Cut))
	e.lineage(m.Lineage)
}

func (m *Follow) decode(d *decoder) {
	m.Epoch, m.Cut, m.Lineage = d.epoch(), d.lsn(), d.lineage()
	d.require(m.Epoch > 0)
}

func (m *Append) encode(e *encoder) {
	e.u64(uint64(m.Batch.Epoch))
	e.u64(uint64(m.Batch.First))
	e.u16(uint16(len(m.Batch.Records))) //nolint:gosec // below MaxRecords
	for _, r := range m.Batch.Records {
		e.bool(r.Discard)
		e.u8(0)
		e.u16(0)
		e.u64(uint64(r.Block))
		e.u32(r.Count)
		e.u32(r.CRC)
	}
	e.b = append(e.b, m.Batch.Data...)
}

// decode leaves the batch's data where it is; see [Reader.Next].
func (m *Append) decode(d *decoder) {
	m.Batch.Epoch, m.Batch.First = d.epoch(), d.lsn()
	n := int(d.u16())
	d.require(n > 0 && n <= MaxRecords && n*recordSize <= len(d.b))
	d.require(m.Batch.Epoch > 0 && m.Batch.First > 0)
	m.Batch.Records = m.Batch.Records[:0]
	blocks := uint64(0)
	for range n {
		if d.fail {
			return
		}
		r := decodeRecord(d)
		if !r.Discard {
			blocks += uint64(r.Count)
		}
		m.Batch.Records = append(m.Batch.Records, r)
	}
	d.require(blocks*ballast.BlockSize == uint64(len(d.b)))
	m.Batch.Data = d.take(len(d.b))
}

func decodeRecord(d *decoder) volume.Record {
	r := volume.Record{Discard: d.bool()}
	d.require(d.u8() == 0 && d.u16() == 0)
	r.Block, r.Count, r.CRC = ballast.Block(d.u64()), d.u32(), d.u32()
	const blocks = uint64(MaxSize / ballast.BlockSize)
	d.require(r.Count > 0 && uint64(r.Block) < blocks && uint64(r.Block)+uint64(r.Count) <= blocks)
	d.require(r.Discard || r.Count <= MaxData/ballast.BlockSize)
	return r
}

func (m *Flush) encode(e *encoder)  { e.u64(uint64(m.LSN)) }
func (m *Flush) decode(d *decoder)  { m.LSN = d.lsn() }
func (m *Commit) encode(e *encoder) { e.u64(uint64(m.LSN)) }
func (m *Commit) decode(d *decoder) { m.LSN = d.lsn() }

func (m *Ack) encode(e *encoder) {
	e.u64(uint64(m.Received))
	e.u64(uint64(m.Durable))
}

func (m *Ack) decode(d *decoder) {
	m.Received, m.Durable = d.lsn(), d.lsn()
	d.require(m.Durable <= m.Received)
}

func (m *Resize) encode(e *encoder)  { e.u64(uint64(m.Size)) } //nolint:gosec // a size
func (m *Resize) decode(d *decoder)  { m.Size = d.size() }
func (m *Compare) encode(e *encoder) { e.u64(uint64(m.Since)) }
func (m *Compare) decode(d *decoder) { m.Since = d.lsn() }

func (m *StageBegin) encode(e *encoder) {
	e.u64(uint64(m.LSN))
	e.u64(uint64(m.Epoch))
	e.u64(uint64(m.Size)) //nolint:gosec // a size
	e.u64(uint64(m.Since))
	e.u32(m.Chunks)
	e.lineage(m.Lineage)
}

func (m *StageBegin) decode(d *decoder) {
	m.LSN, m.Epoch, m.Size = d.lsn(), d.epoch(), d.size()
	m.Since, m.Chunks, m.Lineage = d.lsn(), d.chunk(), d.lineage()
	d.require(m.Epoch > 0 && m.Since <= m.LSN)
}

func (m *Staged) encode(e *encoder) {
	e.bool(m.More)
	e.u16(uint16(len(m.Chunks))) //nolint:gosec // below MaxStaged
	for _, c := range m.Chunks {
		e.u32(c.Chunk)
		e.u64(uint64(c.LSN))
	}
}

func (m *Staged) decode(d *decoder) {
	m.More = d.bool()
	n := int(d.u16())
	d.require(n <= MaxStaged && n*stagedSize == len(d.b))
	if d.fail {
		return
	}
	m.Chunks = make([]StagedChunk, n)
	for i := range m.Chunks {
		m.Chunks[i] = StagedChunk{d.chunk(), d.lsn()}
	}
}

func (m *Chunk) encode(e *encoder) {
	e.u32(m.Chunk)
	e.u64(uint64(m.LSN))
	e.b = append(e.b, m.Data...)
}

// decode leaves the data where it is; see [Reader.Next].
func (m *Chunk) decode(d *decoder) {
	m.Chunk, m.LSN = d.chunk(), d.lsn()
	d.require(len(d.b) == 0 || len(d.b) == ballast.ChunkSize)
	m.Data = nil
	if len(d.b) > 0 {
		m.Data = d.take(len(d.b))
	}
}

func (*StageEnd) encode(*encoder)     {}
func (*StageEnd) decode(*decoder)     {}
func (m *StageAck) encode(e *encoder) { e.u64(m.Chunks) }
func (m *StageAck) decode(d *decoder) { m.Chunks = d.u64() }
func (m *Ping) encode(e *encoder)     { e.u32(m.NextMillis) }
func (m *Ping) decode(d *decoder)     { m.NextMillis = d.u32() }
func (m *Bye) encode(e *encoder)      { e.text(m.Text, MaxText) }
func (m *Bye) decode(d *decoder)      { m.Text = d.text(MaxText) }

// decodeMessage fills m from the payload of its frame.
func decodeMessage(m Message, payload []byte) error {
	d := decoder{b: payload}
	m.decode(&d)
	if d.fail || len(d.b) > 0 {
		return fmt.Errorf("%w of kind %d and %d bytes", errMalformed, m.Kind(), len(payload))
	}
	return nil
}
