package volume

import (
	"fmt"
	"time"
)

const (
	generations  = 4        // into which a full log is divided
	minSegments  = 4        // the log can always use so many
	slowFoldRate = 32 << 20 // bytes a second, while the log has plenty of room
	idleTicks    = 5        // ticks without a write after which the log is folded
)

// Upkeep is what the background does next.
type upkeep uint8

const (
	rest        upkeep = iota
	makeSegment        // so that the next writer finds one ready
	foldLog            // so that the log does not fill up, or recovery stays short
	dropSegment        // an idle volume needs few
)

// load is what upkeep is decided from.
type load struct {
	used, free int  // segments
	limit      int  // segments
	unfolded   bool // there are records that are not in the image
	idle       int  // ticks since the last write
}

// decide says what the background does next. Folding begins when a quarter of
// the log is used: late enough for blocks that are written again and again to
// be folded once, early enough for a writer never to wait for it.
func decide(l load) upkeep {
	idle := l.idle >= idleTicks
	switch {
	case l.unfolded && (idle || 4*l.used >= l.limit && l.used > 1):
		return foldLog
	case l.free == 0 && l.used < l.limit && !idle:
		return makeSegment
	case idle && !l.unfolded && l.free > 1:
		return dropSegment
	}
	return rest
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

// makeRoom returns once a segment is free, or an error says why none can be.
func (v *Volume) makeRoom() error {
	v.applying.Lock()
	defer v.applying.Unlock()
	l := v.load()
	if l.free > 0 {
		return nil
	}
	var full error
	if l.used < l.limit {
		if full = v.addSegment(); !isFull(full) {
			return full
		}
		// The disk is full: let go of what the log holds instead.
	}
	if err := v.round(fullSpeed); err != nil || v.load().free > 0 {
		return err
	}
	return full
}

// addSegment makes one more segment ready. The caller holds applying.
func (v *Volume) addSegment() error {
	s, err := newSegment(v.fsys, v.dir, v.segments, v.segmentSize)
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

// dropSegments removes all free segments but one. The caller holds applying.
func (v *Volume) dropSegments() error {
	v.mu.Lock()
	if len(v.log.free) < 2 {
		v.mu.Unlock()
		return nil
	}
	surplus := v.log.free[1:]
	v.log.free = v.log.free[:1:1]
	v.mu.Unlock()
	for _, s := range surplus {
		if err := s.remove(v.fsys); err != nil {
			return v.poison(fmt.Errorf("remove log segment: %w", err))
		}
	}
	return nil
}

func (v *Volume) load() load {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return load{
		used:     len(v.log.used),
		free:     len(v.log.free),
		limit:    v.segmentLimit(),
		unfolded: len(v.frozen) > 0 || !v.active.isEmpty(),
	}
}
