package archiver

import (
	"fmt"
	"time"
)

// The decisions of the archiver: pure, told the time.

const (
	backoffFirst = time.Second
	backoffMost  = time.Minute

	// A restore reads the header of every object of the tail since the base snapshot.
	maxTailObjects = 720
	// Retention keeps hours, so a volume that changes has a base snapshot every hour.
	baseEvery = time.Hour
	// Replaying less than this costs too little to take a base snapshot for it.
	minTailBytes = 256 << 20
)

// backoff returns how long to wait after so many failures in a row. share, from 0
// to 1, is chance: volumes that failed together do not try again together.
func backoff(failures int, share float64) time.Duration {
	wait := backoffMost
	if failures < 7 { // a minute is reached
		wait = min(backoffMost, backoffFirst<<max(0, failures-1))
	}
	return wait/2 + time.Duration(share*float64(wait)/2)
}

// baseFacts is what decides whether a base snapshot is due.
type baseFacts struct {
	state     State
	touched   int64 // bytes of the chunks that changed since the base snapshot; where that is not known, of the volume
	now       time.Time
	hydrating bool // parts of the volume are in the archive alone
	running   bool // a base snapshot is being taken, of any volume
	retryAt   time.Time
}

// baseDue says why a base snapshot is due; empty: it is not.
func baseDue(f baseFacts) (reason string) {
	a := f.state
	switch {
	case f.hydrating || f.running || f.now.Before(f.retryAt) || a.LSN == 0:
		return ""
	case !a.HasBase:
		return "there is none yet"
	case a.open():
		return "the log lost records that were not archived"
	case a.LSN <= a.BaseLSN:
		return "" // nothing was written since
	case a.TailObjects >= maxTailObjects:
		return fmt.Sprintf("the tail has %d objects", a.TailObjects)
	case f.now.Sub(a.BaseTime) >= baseEvery:
		return "the last one is an hour old"
	case a.TailBytes >= max(minTailBytes, 2*f.touched):
		// What changed was written twice over: storing it once is cheaper than replaying.
		return fmt.Sprintf("the tail has %d MiB", a.TailBytes>>20)
	}
	return ""
}
