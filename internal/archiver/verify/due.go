package verify

import (
	"context"
	"maps"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
)

// look is how often it is seen whether a volume is due.
const look = time.Minute

// due returns the archived volume whose test is due, the longest untested first.
func due(volumes []archiver.Volume, done map[ballast.VolumeID]Result, every time.Duration, now time.Time) (next archiver.Volume, ok bool) {
	var oldest time.Time
	for _, v := range volumes {
		if !archiver.Keeps(v.Spec.Class) || v.Epoch == 0 {
			continue
		}
		at := done[v.ID].At
		if now.Sub(at) >= every && (!ok || at.Before(oldest)) {
			next, oldest, ok = v, at, true
		}
	}
	return next, ok
}

// Run verifies each volume once in a while, one after another, until ctx ends.
func (v *Verifier) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			v.verifyDue(ctx, every)
		case <-ctx.Done():
			return
		}
	}
}

// verifyDue tests the volume that is due, if one is.
func (v *Verifier) verifyDue(ctx context.Context, every time.Duration) {
	v.mu.Lock()
	done := maps.Clone(v.results.Volumes)
	v.mu.Unlock()
	vol, ok := due(v.node.Records.List(), done, every, time.Now())
	if !ok {
		return
	}
	r := v.Verify(ctx, vol, "", nil)
	v.node.Log.Info("verified volume", "volume", vol.Name, "ok", r.OK, "error", r.Error, "seconds", r.Seconds)
}
