package volume

import (
	"context"
	"errors"
	"time"

	"github.com/ballast-io/ballast"
)

const tick = time.Second

// Run keeps the volume in good shape in the background: segments ready before
// they are needed, the log folded into the image. It returns nil when ctx ends,
// or the reason why the volume accepts nothing more. A volume without Run works:
// its writers do the same when they have to.
func (v *Volume) Run(ctx context.Context) error {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	var last ballast.LSN
	idle := 0
	for {
		if err := v.maintain(ctx, idle); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-v.wake:
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

// maintain does what has to be done now. A full disk is no failure: it is tried
// again at the next tick.
func (v *Volume) maintain(ctx context.Context, idle int) error {
	for ; ctx.Err() == nil; idle = 0 {
		l := v.load()
		l.idle = idle
		what := decide(l)
		if what == rest {
			break
		}
		err := v.do(ctx, what)
		if isFull(err) || errors.Is(err, errInterrupted) {
			break
		}
		if err != nil {
			return err
		}
	}
	return v.Err()
}

func (v *Volume) do(ctx context.Context, what upkeep) error {
	v.applying.Lock()
	defer v.applying.Unlock()
	switch what {
	case foldLog:
		return v.round(v.paced(ctx))
	case makeSegment:
		return v.addSegment()
	case dropSegment:
		return v.dropSegments()
	case rest:
	}
	return nil
}
