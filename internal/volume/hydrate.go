package volume

import (
	"context"
	"errors"
	"sync"
	"time"
)

// hydrate fetches what is missing, until nothing is: first what readers are
// about to read, then the rest in order, while nobody waits for a chunk.
func (v *Volume) hydrate(ctx context.Context) error {
	h := &v.hydration
	var flights sync.WaitGroup
	defer flights.Wait()
	for h.source != nil && h.left.Load() > 0 && ctx.Err() == nil {
		f, why, pause := h.next(time.Now())
		if f == nil {
			await(ctx, h.told, pause)
			continue
		}
		flights.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, v.opts.FetchBudget)
			defer cancel()
			err := v.fly(ctx, f)
			h.landed(why, err, time.Now())
		})
	}
	return nil
}

// await returns when it is told, when ctx ends, and after d at the latest.
func await(ctx context.Context, told <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// keepHydrated makes durable what was fetched, a good deal at a time.
func (v *Volume) keepHydrated(ctx context.Context) error {
	h := &v.hydration
	for ctx.Err() == nil {
		left := h.left.Load()
		err := v.keepArrived()
		if err != nil && !isFull(err) {
			return err
		}
		if left == 0 && err == nil {
			return nil
		}
		await(ctx, h.settle, tick)
	}
	return nil
}

// isSoft reports whether the background tries again after err: the disk is full,
// the archive is away, or it was told to stop.
func isSoft(err error) bool {
	return isFull(err) || errors.Is(err, ErrMissing) || errors.Is(err, errInterrupted)
}
