package volume

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
)

const tick = time.Second

// Run keeps the volume in good shape in the background: segments ready before
// they are needed, the log folded into the image, missing chunks fetched. It returns nil when ctx ends,
// or the reason why the volume accepts nothing more. A volume without Run works:
// its writers do the same when they have to.
func (v *Volume) Run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return v.watch(ctx, v.foldNeeded, v.foldOnce) })
	all.Go(func() error { return v.watch(ctx, v.segmentNeeded, v.adjustSegments) })
	all.Go(func() error { return v.hydrate(ctx) })
	all.Go(func() error { return v.keepHydrated(ctx) })
	return all.Wait()
}

// watch does what is needed, as long as it is, at every tick and whenever
// needed is told. A full disk is no failure: it is tried again at the next tick.
func (v *Volume) watch(ctx context.Context, needed <-chan struct{}, do func(context.Context, load) (more bool, err error)) error {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	var last ballast.LSN
	idle := 0
	for {
		for more := true; more && ctx.Err() == nil; {
			l := v.load()
			l.idle = idle
			var err error
			more, err = do(ctx, l)
			if err = errors.Join(err, v.Err()); err != nil && !isSoft(err) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-needed:
			idle = 0
		case <-ticks.C:
			idle, last = v.idleness(idle, last)
		}
	}
}

// idleness counts the ticks in which no record was appended.
func (v *Volume) idleness(idle int, last ballast.LSN) (int, ballast.LSN) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.log.last != last {
		return 0, v.log.last
	}
	return idle + 1, last
}

// foldOnce folds a generation when it is time to. It reports whether to look
// again at once.
func (v *Volume) foldOnce(ctx context.Context, l load) (more bool, err error) {
	if !shouldFold(l) {
		return false, nil
	}
	err = v.whenReady(ctx, func() error {
		v.applying.Lock()
		defer v.applying.Unlock()
		return v.roundOnFull(v.paced(ctx))
	})
	return err == nil && !l.isIdle(), err
}

// adjustSegments makes a segment, or removes one. It reports whether to look
// again at once.
func (v *Volume) adjustSegments(_ context.Context, l load) (more bool, err error) {
	v.making.Lock()
	defer v.making.Unlock()
	switch want := spare(l); {
	case l.free < want:
		err = v.addSegment()
	case l.free > want && l.isIdle() && !l.unfolded:
		err = v.dropSegment()
	default:
		return false, nil
	}
	return err == nil, err
}

// wake lets Run look at the volume before its next tick. The caller holds mu.
func (v *Volume) wake() {
	select {
	case v.segmentNeeded <- struct{}{}:
	default:
	}
	select {
	case v.foldNeeded <- struct{}{}:
	default:
	}
}
