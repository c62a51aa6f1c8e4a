package volume

import (
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
)

// Record is one write or discard, as it travels to another node.
type Record struct {
	Discard bool          // the blocks read as zeros; else they are data of the batch
	Block   ballast.Block // the first one
	Count   uint32        // how many blocks
	CRC     uint32        // CRC-32C of its data; 0 for a discard
}

// Batch is what the log takes in one piece: records that follow one another, all of
// one epoch. It has up to 1 MiB of data.
type Batch struct {
	Epoch   ballast.Epoch
	First   ballast.LSN // of the first record
	Records []Record
	Data    []byte // of the writes, one after another
}

// Last is the LSN of the batch's last record.
func (b Batch) Last() ballast.LSN { return b.First + ballast.LSN(len(b.Records)) - 1 }

// Shipper carries the log of an open volume to its other copies. It is safe for
// concurrent use. [Open] tells it, with Flush and Durable, how far the log that it found reaches;
// those records are not shipped, but read with [Volume.ReadLog].
type Shipper interface {
	// Ship is told every batch, once and in order, before it is written here. It
	// keeps no part of b after it returned. It may wait, to bound memory, but not
	// for the network alone; and it never fails: what was not shipped is read from the log.
	Ship(b Batch)
	// Flush says that all records up to lsn shall become durable. It does not wait. They
	// were shipped before.
	Flush(lsn ballast.LSN)
	// Committed returns nil once every in-sync copy is durable up to lsn (R1), or why
	// that will never be: this writer is fenced off. The volume then is poisoned (V6).
	Committed(lsn ballast.LSN) error
	// Durable is told that this node's log is durable up to lsn.
	Durable(lsn ballast.LSN)
}

// shipped returns a batch as others see it: good until the next call, and until the
// batch's memory is used again. The caller holds [Volume.writing].
func (v *Volume) shipped(b *batch) Batch {
	v.parcel = v.parcel[:0]
	for _, r := range b.header.records {
		v.parcel = append(v.parcel, r.exported())
	}
	return Batch{Epoch: b.header.epoch, First: b.header.first, Records: v.parcel, Data: b.buf[blockSize:]}
}

// exported is a record as others see it.
func (r record) exported() Record {
	return Record{Discard: r.kind == kindDiscard, Block: r.block, Count: r.count, CRC: r.crc}
}

// record is what stands for r in the log, but for its place.
func (r Record) record() record {
	k := kindWrite
	if r.Discard {
		k = kindDiscard
	}
	return record{kind: k, block: r.Block, count: r.Count, crc: r.CRC}
}

// commitTo returns once the records up to lsn are durable here and on every in-sync
// copy (R1), or, of a copy that follows, once they are durable here.
func (v *Volume) commitTo(lsn ballast.LSN) error {
	if v.following {
		_, err := v.syncLog()
		return err
	}
	if err := v.flushTo(lsn); err != nil || v.opts.Shipper == nil {
		return err
	}
	return v.awaitCommitted(lsn)
}

// uncommittedError reports records that the image may not have yet.
type uncommittedError struct{ lsn ballast.LSN }

func (e *uncommittedError) Error() string {
	return fmt.Sprintf("the volume's other copies do not have record %d yet", e.lsn)
}

// mustBeCommitted is commitTo for who holds applying: other copies are not waited for, it
// fails with an [*uncommittedError]. What needs the image goes on while one of them is stalled.
func (v *Volume) mustBeCommitted(lsn ballast.LSN) error {
	if v.opts.Shipper == nil || seeded(skipReplicas) {
		return v.commitTo(lsn)
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if err := v.usable(); err != nil || v.committed >= lsn {
		return err
	}
	return &uncommittedError{lsn}
}

// awaitCommitted waits for the other copies, with no lock held: so the next flush is
// on its way while this one is waited for.
func (v *Volume) awaitCommitted(lsn ballast.LSN) error {
	v.mu.RLock()
	committed, err := v.committed, v.usable()
	v.mu.RUnlock()
	if err != nil || committed >= lsn || seeded(skipReplicas) {
		return err
	}
	if err := v.opts.Shipper.Committed(lsn); err != nil {
		return v.poison(fmt.Errorf("wait for the volume's other copies: %w", err))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.committed = max(v.committed, lsn)
	return nil
}

// Lineage says under which epoch each record was written; the last one is the epoch
// that the volume is open under.
func (v *Volume) Lineage() Lineage {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Clone(v.log.history)
}

// Position says how far the log reaches: the last record that was appended, the last
// one that is on this disk, and the last one that is in the image.
func (v *Volume) Position() (last, durable, applied ballast.LSN) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.log.last, v.log.durable, v.applied
}
