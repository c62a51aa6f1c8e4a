package repository

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
)

// The times of the lock protocol. The format's are how long a lock must stand before it
// counts, how often it is refreshed, when its holder must have stopped, and when
// others may take it for stale.
const (
	lockSettle  = 200 * time.Millisecond
	lockRefresh = 5 * time.Minute
	lockRetry   = time.Minute
	lockGiveUp  = 22*time.Minute + 30*time.Second
	lockStale   = 30 * time.Minute
	lockWatch   = lockRefresh + time.Minute // at least, before a label is believed
	lockPoll    = 2 * time.Second
	lockCleanUp = 10 * time.Second // for removing a lock after its caller gave up
)

// Lock is a lock on a repository. It is refreshed by a goroutine of its own until
// Close.
type Lock struct {
	r         *Repository
	exclusive bool
	lost      chan struct{}
	stop      context.CancelFunc
	stopped   chan struct{}
	close     sync.Once

	// Of the goroutine alone, until it has stopped:

	old   []ID      // files of ours that could not be deleted yet
	fresh time.Time // of the last refresh, by the clock since boot
}

// Lock takes a lock: an exclusive one stands alone, any number of others stand together.
// It waits until ctx ends while somebody holds one that conflicts, and then fails
// with a [*LockedError]. With the lock, the index in memory is what the store has;
// index files that are damaged are left out of it. The caller must Close the lock.
func (r *Repository) Lock(ctx context.Context, exclusive bool) (*Lock, error) {
	l, err := r.lock(ctx, exclusive)
	if err != nil {
		return nil, fmt.Errorf("lock repository: %w", err)
	}
	if _, err := r.readIndex(ctx); err != nil {
		return nil, fmt.Errorf("lock repository: %w", errors.Join(err, l.Close(context.WithoutCancel(ctx))))
	}
	return l, nil
}

// lock waits for a lock, and leaves the index as it is.
func (r *Repository) lock(ctx context.Context, exclusive bool) (*Lock, error) {
	var locked *LockedError
	for {
		l, err := r.tryLock(ctx, exclusive)
		if err == nil {
			return l, nil
		}
		if !errors.As(err, &locked) {
			if locked != nil && ctx.Err() != nil {
				return nil, locked // more to the point than that time is up
			}
			return nil, err
		}
		// Of two that got in each other's way, one is to be first next time.
		if !sleep(ctx, lockPoll/2+rand.N(lockPoll)) {
			return nil, locked
		}
	}
}

// tryLock is the protocol of the format: look, put up one's own, wait, look again.
func (r *Repository) tryLock(ctx context.Context, exclusive bool) (*Lock, error) {
	if err := r.conflict(ctx, exclusive, ID{}); err != nil {
		return nil, err
	}
	id, err := r.putLock(ctx, exclusive)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if !sleep(ctx, lockSettle) {
		err = ctx.Err()
	} else {
		err = r.conflict(ctx, exclusive, id)
	}
	if err != nil {
		return nil, errors.Join(err, r.dropLocks(ctx, id))
	}
	return r.holdLock(ctx, exclusive, id, begun), nil
}

// holdLock is a lock that was taken: from now on it is refreshed.
func (r *Repository) holdLock(ctx context.Context, exclusive bool, id ID, begun time.Time) *Lock {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Lock{
		r: r, exclusive: exclusive, fresh: begun, stop: stop,
		lost: make(chan struct{}), stopped: make(chan struct{}),
	}
	r.mu.Lock()
	r.held[l] = id
	r.mu.Unlock()
	go func() {
		defer close(l.stopped)
		l.keep(ctx)
	}()
	return l
}

// Lost is closed when the lock could not be refreshed in time, or was removed by
// somebody: whoever works under it must stop.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Context returns a context that ends with the lock, with [ErrLockLost] as its cause.
// The caller must call the function as well.
func (l *Lock) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-l.lost:
			cancel(ErrLockLost)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// Close gives the lock back. It may be called again.
func (l *Lock) Close(ctx context.Context) (err error) {
	l.close.Do(func() {
		l.stop()
		<-l.stopped
		l.r.mu.Lock()
		id := l.r.held[l]
		delete(l.r.held, l)
		l.r.mu.Unlock()
		err = l.r.dropLocks(ctx, append(l.old, id)...)
	})
	return err
}

// keep refreshes the lock until ctx ends or the lock is lost.
func (l *Lock) keep(ctx context.Context) {
	wait := lockRefresh
	for sleep(ctx, wait) {
		err := l.refresh(ctx)
		wait = lockRefresh
		if err != nil {
			wait = lockRetry
		}
		if errors.Is(err, ErrLockLost) || time.Since(l.fresh) > lockGiveUp-lockRetry {
			close(l.lost)
			return
		}
	}
}

// refresh puts up a new file for the lock and removes the old one.
func (l *Lock) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lockRetry)
	defer cancel()
	r := l.r
	r.mu.Lock()
	old := r.held[l]
	r.mu.Unlock()
	files, err := list(ctx, r.store, locksFolder)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(files, func(f file) bool { return f.id == old }) {
		return ErrLockLost
	}
	begun := time.Now()
	id, err := r.putLock(ctx, l.exclusive)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.held[l] = id
	r.mu.Unlock()
	l.fresh = begun
	l.old = append(l.old, old)
	if r.dropLocks(ctx, l.old...) == nil {
		l.old = nil // else they are tried again
	}
	return nil
}

// dropLocks deletes locks of ours, even after ctx ended.
func (r *Repository) dropLocks(ctx context.Context, ids ...ID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockCleanUp)
	defer cancel()
	var failed []error
	for _, id := range ids {
		if err := r.store.Delete(ctx, locksFolder+id.String()); err != nil {
			failed = append(failed, fmt.Errorf("remove lock %s: %w", id.Short(), err))
		}
	}
	return errors.Join(failed...)
}

// conflict returns a [*LockedError] where a lock other than own stands in the way.
func (r *Repository) conflict(ctx context.Context, exclusive bool, own ID) error {
	files, err := list(ctx, r.store, locksFolder)
	if err != nil {
		return err
	}
	r.watchLocks(files)
	for _, f := range files {
		if f.id == own || f.size == 0 { // an empty one is another's crash, by the format
			continue
		}
		l, err := r.getLock(ctx, f)
		if errors.Is(err, ballast.ErrNotFound) {
			continue // given back since it was listed
		}
		if err != nil && !isDamage(err) {
			return err
		}
		if r.isStale(f.id, l) {
			if err := r.store.Delete(ctx, locksFolder+f.id.String()); err != nil {
				return fmt.Errorf("remove stale lock %s: %w", f.id.Short(), err)
			}
			continue
		}
		if exclusive || l.Exclusive {
			return l.lockedError(f.id)
		}
	}
	return nil
}

// confirmLocks sees to it that the locks which this repository holds are still in
// the store (A4).
func (r *Repository) confirmLocks(ctx context.Context) error {
	held := r.heldLocks()
	for {
		files, err := list(ctx, r.store, locksFolder)
		if err != nil {
			return err
		}
		if containsAll(files, held) {
			return nil
		}
		again := r.heldLocks()
		if slices.Equal(held, again) {
			return ErrLockLost
		}
		held = again // one was refreshed or given back in between
	}
}

func (r *Repository) heldLocks() (ids []ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.held {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

func containsAll(files []file, ids []ID) bool {
	_, gone := newFiles(files, ids)
	return len(gone) == 0
}

// sleep waits, and reports whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
