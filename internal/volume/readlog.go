package volume

import (
	"fmt"

	"github.com/ballast-io/ballast"
)

// maxPlaces is how many ends of readings are remembered, for the next ones to begin there.
const maxPlaces = 16

// ReadLog returns the durable records after `after`, as batches of one epoch with data of
// up to about limit bytes, at least one; nil when there are none. The batches are the
// caller's.
//
// The error is [ErrRecycled] when the log does not hold these records any more,
// and a [*CorruptError] when it should and they are damaged. Calls keep neither a writer
// nor each other waiting.
func (v *Volume) ReadLog(after ballast.LSN, limit int64) ([]Batch, error) {
	if last, durable, _ := v.Position(); durable <= after && after <= last {
		return nil, nil
	}
	w, err := v.survey(after, v.onDisk, func(*log) {})
	if w == nil || err != nil {
		return nil, err
	}
	into := &parcels{limit: limit}
	w.into = into
	w.begin(v.places.find(after + 1))
	if err := w.run(); err != nil && w.next <= after+1 {
		return nil, fmt.Errorf("read log of volume %s after LSN %d: %w", v.id, after, err)
	}
	v.places.note(w.place)
	return into.batches, nil
}

// parcels copies records into batches, as they were written.
type parcels struct {
	limit   int64
	bytes   int64        // of memory
	of      *batchHeader // the last batch's
	whole   bool         // nothing of that is left to read
	batches []Batch
}

func (p *parcels) full() bool { return p.bytes >= p.limit && p.whole }

func (p *parcels) add(h *batchHeader, r record, data []byte) {
	if p.of != h {
		p.of = h
		p.batches = append(p.batches, Batch{
			Epoch:   h.epoch,
			First:   r.lsn,
			Records: make([]Record, 0, len(h.records)),
			Data:    make([]byte, 0, (h.blocks()-1)*blockSize),
		})
	}
	b := &p.batches[len(p.batches)-1]
	b.Records = append(b.Records, r.exported())
	b.Data = append(b.Data, data...)
	p.bytes += int64(len(data)) + recordSize
	p.whole = r.lsn == h.first+ballast.LSN(len(h.records))-1
}
