package volume

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
)

// recovery reads a log from the applied LSN on, up to where it ends. It changes
// nothing on disk.
type recovery struct {
	desc  *descriptor
	visit func(*batchHeader, record) // told every record that counts, in order

	segs    []*segment  // of the log, in its order
	next    ballast.LSN // of the record after the last good one
	end     position    // after the last good batch
	stale   []position  // headers of batches behind that, in the last segment
	batches int
	reader  *segmentReader
	buf     []byte // of the segment that is being looked at
}

// read walks the log in segs. What follows a torn batch was never acknowledged,
// unless something in the log says that it was: then it is damage (V7).
func (r *recovery) read(segs []*segment) error {
	r.next = r.desc.Applied + 1
	candidates := inOrder(segs)
	if n := len(candidates); n > 1 && seeded(ignoreLastSegment) {
		candidates = candidates[:n-1]
	}
	from := 0
	for i, s := range candidates {
		if s.first <= r.next {
			from = i
		}
	}
	r.reader = newSegmentReader(candidates[from:])
	defer r.reader.close()
	for i, s := range candidates[from:] {
		if i == 0 && s.first <= r.next {
			r.next = s.first
		}
		if s.first != r.next {
			continue // begun after a torn batch, and void like it
		}
		if err := r.readSegment(s); err != nil {
			return err
		}
	}
	return r.lookForDamage(candidates)
}

// inOrder returns the segments that hold something, in the order of the log.
func inOrder(segs []*segment) []*segment {
	used := slices.DeleteFunc(slices.Clone(segs), func(s *segment) bool { return s.seq == 0 })
	slices.SortFunc(used, func(a, b *segment) int { return cmp.Compare(a.seq, b.seq) })
	return used
}

// readSegment reads the batches of one segment of the log.
func (r *recovery) readSegment(s *segment) error {
	r.segs = append(r.segs, s)
	r.end = s.at(1)
	if err := r.load(s); err != nil {
		return err
	}
	for off := uint64(1); off < s.blocks; {
		h, ok := decodeBatchHeader(r.buf[off*blockSize:], r.desc.Salt, s.at(off))
		if !ok || h.first != r.next || off+h.blocks() > s.blocks {
			return nil
		}
		if !r.readBatch(s, h) {
			return nil
		}
		off += h.blocks()
		r.end = s.at(off)
		r.batches++
	}
	return nil
}

// load reads a whole segment.
func (r *recovery) load(s *segment) (err error) {
	r.buf, err = r.reader.load(s)
	return err
}

// readBatch takes the records of a batch, and reports false when it took none. Those
// that a later epoch cut off are passed over. A batch with a torn record was never
// synced, and counts for nothing: what a copy appends in its place may be of the same epoch.
func (r *recovery) readBatch(s *segment, h *batchHeader) bool {
	good := 0
	for _, rec := range h.records {
		if r.desc.History.epochAt(rec.lsn) != h.epoch && !seeded(acceptOldEpoch) {
			break
		}
		at := s.offset(rec.pos)
		torn := rec.crc != dataSum(r.buf[at:at+int64(rec.dataBlocks())*blockSize])
		if torn && !seeded(acceptTornRecord) || !covers(r.desc.Size, rec) {
			return false
		}
		good++
	}
	for _, rec := range h.records[:good] {
		r.next = rec.lsn + 1
		r.visit(h, rec)
	}
	return good > 0
}

// covers reports whether a record lies within a volume of size bytes.
func covers(size int64, r record) bool {
	blocks := uint64(size / blockSize)
	return uint64(r.block) <= blocks && uint64(r.count) <= blocks-uint64(r.block)
}

// lookForDamage asks whether records were durable that were not found: the
// descriptor may say so, or a later batch, which was written when they were.
func (r *recovery) lookForDamage(candidates []*segment) error {
	if len(r.segs) == 0 {
		return r.missing(logDir, 0, r.desc.Durable)
	}
	last := r.segs[len(r.segs)-1]
	if err := r.missing(last.name, last.offset(r.end), r.desc.Durable); err != nil {
		return err
	}
	for _, s := range candidates {
		if s.seq < last.seq {
			continue
		}
		if err := r.load(s); err != nil {
			return err
		}
		if err := r.missing(last.name, last.offset(r.end), r.claimIn(s)); err != nil {
			return err
		}
	}
	return nil
}

// claimIn returns the highest durable LSN that a batch claims which stands in s
// and is not void.
func (r *recovery) claimIn(s *segment) (claim ballast.LSN) {
	for off := uint64(1); off < s.blocks; off++ {
		h, ok := decodeBatchHeader(r.buf[off*blockSize:], r.desc.Salt, s.at(off))
		if ok && r.desc.History.epochAt(h.first) == h.epoch {
			claim = max(claim, h.durable)
		}
		if ok && s.at(off) >= r.end && s == r.segs[len(r.segs)-1] {
			r.stale = append(r.stale, s.at(off))
		}
	}
	return claim
}

func (r *recovery) missing(file string, offset int64, durable ballast.LSN) error {
	if durable < r.next {
		return nil
	}
	return &CorruptError{
		File:   file,
		Offset: offset,
		Reason: fmt.Sprintf("records from LSN %d on were durable up to LSN %d and cannot be read", r.next, durable),
	}
}
