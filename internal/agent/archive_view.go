package agent

import (
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
)

// archiveView is how far a volume is archived, as far as the node knows.
type archiveView struct {
	state  archiver.State
	queued int64     // bytes of log that are not archived
	oldest time.Time // of the oldest flush that is not archived; zero: all are
	since  time.Time // archiving fails since then
	err    error
	basing bool
}

// describeArchive fills in what the slot's archiver, or the last one, knows. The caller
// has s.mu.
func (s *slot) describeArchive(v *archiveView) {
	v.queued, v.oldest = archiver.Waiting(s.status), s.status.QueueSince
	if s.shipping == nil {
		v.state = s.lastArchived
		return
	}
	p := s.shipping.Progress()
	v.state, v.since, v.err, v.basing = p.State, p.Since, p.Err, p.Basing
}

// lag returns for how long something has waited to be archived.
func (v *archiveView) lag(now time.Time) time.Duration {
	if v.oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(v.oldest))
}

// arrival is how fast a volume fills in.
type arrival struct {
	missing int // chunks, at the last look
	at      time.Time
	speed   float64 // bytes per second, smoothed
}

// look takes in how many chunks are missing.
func (a *arrival) look(missing int, now time.Time) {
	if !a.at.IsZero() && now.After(a.at) && a.missing > 0 {
		speed := float64(a.missing-missing) * ballast.ChunkSize / now.Sub(a.at).Seconds()
		a.speed = a.speed*0.7 + max(0, speed)*0.3
	}
	if missing == 0 {
		a.speed = 0
	}
	a.missing, a.at = missing, now
}

func (a *arrival) rate() int64 { return int64(a.speed) }
