package volume

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"github.com/ballast-io/ballast"
)

// WriteAt writes whole blocks: off and len(p) are multiples of 4096 and lie
// within the volume, else the error is [ErrRange] and nothing was changed. The
// write is volatile until a [Volume.Flush] that begins after WriteAt returned.
// A write of more than 1 MiB may survive a power cut in part.
func (v *Volume) WriteAt(p []byte, off int64) (int, error) {
	v.counters.writes.Add(1)
	v.counters.writtenBytes.Add(uint64(len(p)))
	v.rhythm.write()
	if !v.fits(off, int64(len(p))) {
		return 0, ErrRange
	}
	done := 0
	for done < len(p) {
		n := min(len(p)-done, v.maxRecord())
		data := p[done : done+n]
		r := record{
			kind:  kindWrite,
			block: ballast.Block((off + int64(done)) / blockSize),
			count: uint32(n / blockSize),
			crc:   dataSum(data),
		}
		if err := v.append(r, data); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// maxRecord is how many bytes of data one record can carry.
func (v *Volume) maxRecord() int {
	inSegment := int(v.segmentSize) - 2*blockSize // its header and the batch's
	return min(inSegment, (maxBatchBlocks-1)*blockSize)
}

// Discard makes whole blocks read as zeros and gives their disk space back in
// time. It is as volatile as a write.
func (v *Volume) Discard(off, n int64) error {
	v.counters.discards.Add(1)
	if !v.fits(off, n) {
		return ErrRange
	}
	block, left := ballast.Block(off/blockSize), uint64(n/blockSize)
	for left > 0 {
		count := min(left, math.MaxUint32)
		if err := v.append(record{kind: kindDiscard, block: block, count: uint32(count)}, nil); err != nil {
			return err
		}
		block, left = block+ballast.Block(count), left-count
	}
	return nil
}

func (v *Volume) fits(off, n int64) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.inRange(off, n)
}

// append adds a record to the log and to the index. Where there is no room it
// makes some itself, so that a writer is slowed down by what it costs.
func (v *Volume) append(r record, data []byte) error {
	var stalled time.Time
	for {
		full, err := v.tryAppend(r, data)
		switch {
		case err == nil:
			if full {
				v.drainIfIdle()
			}
			return nil
		case errors.Is(err, errNoBuffer):
			err = v.drain()
		case errors.Is(err, errNoSegment):
			err = v.makeRoom()
		}
		if isFull(err) {
			err = v.stall(&stalled)
		}
		if err != nil {
			return err
		}
	}
}

// tryAppend reports whether there are batches to be written.
func (v *Volume) tryAppend(r record, data []byte) (full bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usable(); err != nil {
		return false, err
	}
	r, err = v.log.append(r, data)
	if err != nil {
		return false, err
	}
	v.index(r)
	if len(v.log.free) < readyAhead {
		v.wake()
	}
	return len(v.log.ready) > 0, nil
}

// index points the index at a record, in a generation of its own when the
// active one has its share of the log. The caller holds mu.
func (v *Volume) index(r record) {
	blocks := uint64(v.segmentSize) / blockSize
	seq := uint64(r.pos) / blocks
	share := uint64(v.segmentLimit() / generations)
	if !v.active.isEmpty() && seq >= v.active.seq+share {
		v.freeze(position(seq * blocks))
	}
	if v.active.isEmpty() {
		v.active.seq = seq
	}
	v.active.put(r)
}

// usable says why nothing is accepted. The caller holds mu.
func (v *Volume) usable() error {
	if v.closed {
		return ErrClosed
	}
	return v.err
}

// stall waits for room on a full disk, and gives up after the stall limit.
func (v *Volume) stall(since *time.Time) error {
	if since.IsZero() {
		*since = time.Now()
	}
	if time.Since(*since) >= v.opts.StallLimit {
		return fmt.Errorf("write volume %s: the log cannot be folded into the image, its disk is full; free space there: %w", v.id, syscall.ENOSPC)
	}
	time.Sleep(min(v.opts.StallLimit, 100*time.Millisecond))
	return nil
}

// Flush returns nil once everything is on stable storage whose WriteAt or
// Discard returned before Flush was called (V1). Calls that overlap share one
// write and one sync.
func (v *Volume) Flush() error {
	v.counters.flushes.Add(1)
	v.rhythm.flush()
	target, err := v.flushTarget()
	if err != nil {
		return err
	}
	return v.commitTo(target)
}

// flushTo makes the records up to target durable on this disk.
func (v *Volume) flushTo(target ballast.LSN) error {
	v.writing.Lock()
	defer v.writing.Unlock()
	return v.flushUpTo(target)
}

// flushUpTo is flushTo for who holds writing.
func (v *Volume) flushUpTo(target ballast.LSN) error {
	v.mu.RLock()
	durable, err := v.log.durable, v.usable()
	v.mu.RUnlock()
	if err != nil || durable >= target {
		return err
	}
	if seeded(acknowledgeEarly) {
		_, err := v.writeBatches(true)
		return err
	}
	return v.flushTail()
}

func (v *Volume) flushTarget() (ballast.LSN, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.log.last, v.usable()
}

// flushTail makes all records durable. The caller holds writing.
func (v *Volume) flushTail() error {
	last, err := v.writeBatches(true)
	if err == nil {
		err = v.log.sync()
	}
	if err != nil {
		return v.poison(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log.durable = last
	if v.opts.Shipper == nil {
		v.committed = last // the in-sync set is this node alone
	} else {
		v.opts.Shipper.Durable(last)
	}
	v.log.points.note(point{lsn: last, time: v.opts.Now(), size: v.size, end: v.log.end()})
	return nil
}

// drain writes the full batches, without waiting for the disk.
func (v *Volume) drain() error {
	v.writing.Lock()
	defer v.writing.Unlock()
	return v.drainLocked()
}

func (v *Volume) drainLocked() error {
	if err := v.Err(); err != nil {
		return err
	}
	if _, err := v.writeBatches(false); err != nil {
		return v.poison(err)
	}
	return nil
}

// drainIfIdle spares the next flush some work, unless one is at work now.
// A failure is kept: the next call on the volume returns it.
func (v *Volume) drainIfIdle() {
	if v.writing.TryLock() {
		defer v.writing.Unlock()
		_ = v.drainLocked()
	}
}

// ship hands batches over before they are written here, so that all copies write at
// the same time. The caller holds writing.
func (v *Volume) ship(batches []*batch, flush bool, last ballast.LSN) {
	if v.opts.Shipper == nil {
		return
	}
	for _, b := range batches {
		v.opts.Shipper.Ship(v.shipped(b))
	}
	if flush {
		v.opts.Shipper.Flush(last)
	}
}

// writeBatches writes the full batches, and the tail when whole is set, to
// their segments. It returns the last record that it wrote, or that stood
// before. The caller holds writing.
func (v *Volume) writeBatches(whole bool) (last ballast.LSN, err error) {
	v.mu.Lock()
	batches, last := v.log.take(whole), v.log.last
	v.mu.Unlock()
	v.ship(batches, whole, last)
	for _, b := range batches {
		if err := v.log.write(b); err != nil {
			return 0, err
		}
		v.mu.Lock()
		v.log.written(b)
		v.mu.Unlock()
	}
	return last, nil
}
