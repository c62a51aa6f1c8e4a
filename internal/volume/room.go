package volume

import (
	"context"
	"fmt"
	"time"
)

const (
	generations  = 4        // into which a full log is divided
	minSegments  = 4        // the log can always use so many
	readyAhead   = 2        // segments kept ready while there are writes
	slowFoldRate = 32 << 20 // bytes a second, while the log has plenty of room
	idleTicks    = 5        // ticks without a write after which the log is folded
)

// load is what upkeep is decided from.
type load struct {
	used, free int  // segments
	limit      int  // segments
	unfolded   bool // there are records that are not in the image, and can be folded
	idle       int  // ticks since the last write
}

func (l load) isIdle() bool { return l.idle >= idleTicks }

// shouldFold reports whether to fold a generation now. That begins when a
// quarter of the log is used: late enough for blocks that are written again and
// again to be folded once, early enough for a writer never to wait for it. What
// is idle is folded anyway, so that its next attach has nothing to recover.
func shouldFold(l load) bool {
	return l.unfolded && (l.isIdle() || l.used > 1 && generations*l.used >= l.limit)
}

// spare is how many segments to keep ready: none is made on a writer's time,
// and an idle volume holds no more than it needs.
func spare(l load) int {
	if l.isIdle() {
		return 1
	}
	return max(0, min(readyAhead, l.limit-l.used))
}

// foldRate is how fast to fold, in bytes a second, when the log holds used of
// capacity bytes; 0 means as fast as can be.
func foldRate(used, capacity int64) int64 {
	if 2*used >= capacity {
		return 0
	}
	return slowFoldRate
}

// segmentLimit is how many segments the log may use.
func (v *Volume) segmentLimit() int {
	return max(minSegments, int(v.opts.LogCapacity/v.segmentSize))
}

func (v *Volume) load() load {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return load{
		used:     len(v.log.used),
		free:     len(v.log.free),
		limit:    v.segmentLimit(),
		unfolded: v.foldable(),
	}
}

// makeRoom returns once a segment is free, or an error says why none can be.
func (v *Volume) makeRoom() error {
	full := v.makeSegment()
	if full != nil && !isFull(full) || v.load().free > 0 {
		return full
	}
	// The log has its share of the disk, or the disk is full: let go of what the
	// log holds instead.
	return v.whenReady(context.Background(), func() error { return v.foldForRoom(full) })
}

// foldForRoom lets go of what the log holds, or returns why there is no room.
func (v *Volume) foldForRoom(full error) error {
	v.applying.Lock()
	defer v.applying.Unlock()
	if v.load().free > 0 {
		return nil
	}
	if err := v.roundOnFull(fullSpeed); err != nil || v.load().free > 0 {
		return err
	}
	return full
}

// makeSegment makes a segment, if there is none and there may be one more.
func (v *Volume) makeSegment() error {
	v.making.Lock()
	defer v.making.Unlock()
	if l := v.load(); l.free > 0 || l.used >= l.limit {
		return nil
	}
	return v.addSegment()
}

// addSegment makes one more segment ready. The caller holds making.
func (v *Volume) addSegment() error {
	s, err := newSegment(v.fsys, v.dir, v.segments, v.segmentSize)
	if isFull(err) && v.recycleHeld() {
		return nil // the archive's loss, and no writer's
	}
	if err != nil {
		return v.setback(err)
	}
	v.segments++
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log.free = append(v.log.free, s)
	v.fullSince = time.Time{}
	return nil
}

// dropSegment removes a free segment. The caller holds making.
func (v *Volume) dropSegment() error {
	v.mu.Lock()
	if len(v.log.free) == 0 {
		v.mu.Unlock()
		return nil
	}
	s := v.log.free[len(v.log.free)-1]
	v.log.free = v.log.free[:len(v.log.free)-1]
	v.mu.Unlock()
	if err := s.remove(v.fsys); err != nil {
		return v.poison(fmt.Errorf("remove log segment: %w", err))
	}
	return nil
}
