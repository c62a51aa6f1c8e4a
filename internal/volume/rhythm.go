package volume

import "sync"

const (
	rhythmLimit = 4 // writes between two flushes, at most, that a rhythm has
	rhythmSure  = 4 // flushes that came as expected before one is begun ahead of time
)

// rhythm tells from how writes and flushes followed one another when a flush is about to come. How many
// writes there were before a flush is expected to say how many there will be before the next: a
// database's log has one each time, a file system's journal one and two in turn. Nothing but time depends on it.
type rhythm struct {
	mu     sync.Mutex // guards everything below
	writes int        // since the last flush
	before int        // those of the flush before
	next   [rhythmLimit + 1]expectation
}

// expectation is what followed a number of writes.
type expectation struct{ writes, sure int }

// write notes a write.
func (r *rhythm) write() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes++
}

// flush notes a flush. One that had nothing to do is passed over.
func (r *rhythm) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writes == 0 {
		return
	}
	if r.before <= rhythmLimit {
		e := &r.next[r.before]
		if e.writes != r.writes {
			*e = expectation{writes: r.writes}
		}
		e.sure = min(e.sure+1, rhythmSure)
	}
	r.before, r.writes = r.writes, 0
}

// isDue reports whether the next thing to come is a flush.
func (r *rhythm) isDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.before > rhythmLimit {
		return false
	}
	e := r.next[r.before]
	return e.writes == r.writes && e.sure == rhythmSure
}

// Written says that a write was answered, so that this goroutine has nothing better to do. Where a
// flush is sure to come next it is begun here: everybody's disk is at work while it is still on its way. It
// may take as long as a flush. A failure is kept: the next call on the volume returns it.
func (v *Volume) Written() {
	if !v.rhythm.isDue() || !v.writing.TryLock() {
		return // or who writes now does so for all
	}
	defer v.writing.Unlock()
	if target, err := v.flushTarget(); err == nil {
		_ = v.flushUpTo(target) // kept, as it says above
	}
}
