package volume

import "github.com/ballast-io/ballast"

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
// concurrent use.
type Shipper interface {
	// Ship is told every batch, once and in order, before it is written here. It
	// keeps no part of b after it returned. It may wait, to bound memory, but not
	// for the network alone; and it never fails: what was not shipped is read from the log.
	Ship(b Batch)
	// Flush says that all records up to lsn shall become durable. It does not wait.
	Flush(lsn ballast.LSN)
	// Committed returns nil once every in-sync copy is durable up to lsn (R1), or why
	// that will never be: this writer is fenced off. The volume then is poisoned (V6).
	Committed(lsn ballast.LSN) error
	// Durable is told that this node's log is durable up to lsn.
	Durable(lsn ballast.LSN)
}

// Lineage says which epoch began at which LSN: what tells two copies how far they
// have the same history.
type Lineage = history

// Reign is the time of one epoch in a lineage: from its first LSN to that of the next.
type Reign = reign
