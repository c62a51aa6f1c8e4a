package volume

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ballast-io/ballast"
)

// overCapacity is how many times its capacity a follower's log may take while
// nothing of it is committed: a leader's log, which bounds that, may be larger.
const overCapacity = 4

// Append writes a batch to the log, without waiting for the disk. It must begin with
// the record after the last one, else the error is [ErrGap], and be of the epoch
// that the lineage has there, else it is [ErrStaleEpoch]. What does not match its
// checksums, or does not fit the volume, is refused with [ballast.ErrInvalid], and
// an incomplete copy takes nothing: [ballast.ErrNotReady]. When the disk is full a first
// part of the batch may have been appended; [Follower.State] says what was.
func (f *Follower) Append(b Batch) error {
	f.appending.Lock()
	defer f.appending.Unlock()
	err := f.v.admit(b)
	for err == nil && len(b.Records) > 0 {
		switch err = f.v.take(&b); {
		case errors.Is(err, errNoBuffer):
			err = nil // the batches are written now
		case errors.Is(err, errNoSegment):
			err = f.v.makeRoomToFollow()
		}
	}
	if err != nil {
		return fmt.Errorf("append to copy of volume %s: %w", f.v.id, err)
	}
	return nil
}

// admit verifies a batch before any of it is taken.
func (v *Volume) admit(b Batch) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if err := v.usable(); err != nil {
		return err
	}
	switch epoch := v.log.history.epochAt(b.First); {
	case !v.isComplete():
		return fmt.Errorf("%w: the copy is not complete", ballast.ErrNotReady)
	case b.First != v.log.last+1 && !seeded(ignoreGap):
		return fmt.Errorf("%w: the last record is %d, the batch begins with %d", ErrGap, v.log.last, b.First)
	case len(b.Records) == 0 || len(b.Records) > maxRecords:
		return fmt.Errorf("%w: a batch of %d records", ballast.ErrInvalid, len(b.Records))
	case b.Epoch != epoch || v.log.history.epochAt(b.Last()) != epoch || v.promised > v.log.history.Epoch():
		return fmt.Errorf("%w: records %d to %d come from %v, and are of %v", ErrStaleEpoch, b.First, b.Last(), b.Epoch, epoch)
	}
	data := b.Data
	for i, r := range b.Records {
		n := int64(r.record().dataBlocks()) * blockSize
		if r.Count == 0 || !covers(v.size, r.record()) || n > int64(len(data)) || n > int64(v.maxRecord()) || r.CRC != dataSum(data[:n]) && !seeded(skipBatchSum) {
			return fmt.Errorf("%w: record %d is damaged, or does not fit a volume of %d bytes", ballast.ErrInvalid, b.First+ballast.LSN(i), v.size)
		}
		data = data[n:]
	}
	if len(data) > 0 {
		return fmt.Errorf("%w: %d bytes more than the records have", ballast.ErrInvalid, len(data))
	}
	return nil
}

// take appends as many of a batch's records as there is room for, writes them, and
// leaves the rest in b.
func (v *Volume) take(b *Batch) error {
	v.writing.Lock()
	defer v.writing.Unlock()
	full := v.takeRecords(b)
	if _, err := v.writeBatches(true); err != nil {
		return v.poison(err)
	}
	return full
}

func (v *Volume) takeRecords(b *Batch) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log.epoch = b.Epoch
	if len(v.log.free) < readyAhead {
		v.wake()
	}
	for len(b.Records) > 0 {
		r := b.Records[0].record()
		n := r.dataBlocks() * blockSize
		r, err := v.log.append(r, b.Data[:n])
		if err != nil {
			return err
		}
		v.index(r)
		b.First, b.Records, b.Data = b.First+1, b.Records[1:], b.Data[n:]
	}
	return nil
}

// makeRoomToFollow returns once a segment is free. What is committed is folded; what is
// not must be kept, and must be taken as well, or the leader could never commit it.
func (v *Volume) makeRoomToFollow() error {
	full := v.makeSegment()
	if full != nil && !isFull(full) || v.load().free > 0 {
		return full
	}
	v.applying.Lock()
	defer v.applying.Unlock()
	for v.load().unfolded && v.load().free == 0 {
		if err := v.roundOnFull(fullSpeed); err != nil {
			return err
		}
	}
	if l := v.load(); l.free > 0 || full != nil {
		return full
	} else if l.used >= overCapacity*l.limit {
		return fmt.Errorf("%d segments of the log are not committed: %w", l.used, syscall.ENOSPC)
	}
	v.making.Lock()
	defer v.making.Unlock()
	return v.addSegment()
}

// Sync makes everything durable that was appended when it was called, and says how far
// the log is durable now. Appends go on meanwhile. Its failure is final (V6).
func (f *Follower) Sync() (durable ballast.LSN, err error) { return f.v.syncLog() }

// syncLog syncs the log without holding up who writes it.
func (v *Volume) syncLog() (ballast.LSN, error) {
	v.writing.Lock()
	v.mu.RLock()
	target, durable, turns, err := v.log.last, v.log.durable, v.log.turns, v.usable()
	v.mu.RUnlock()
	dirty := v.log.dirty
	v.writing.Unlock()
	if err != nil || durable >= target {
		return durable, err
	}
	// The segments before the dirty one were synced when it was begun.
	if dirty != nil && !seeded(skipFollowerSync) {
		if err := v.log.syncSegment(dirty); err != nil {
			return durable, v.poison(err)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.log.turns == turns { // else the records may have been cut meanwhile
		v.log.durable = max(v.log.durable, target)
	}
	return v.log.durable, nil
}

// Commit says that every in-sync copy is durable up to lsn, so that it may be folded
// (R5). It may be beyond what was appended.
func (f *Follower) Commit(lsn ballast.LSN) {
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	v.committed = max(v.committed, lsn)
	if len(v.frozen) > 0 {
		tell(v.foldNeeded)
	}
}
