package stream

import (
	"context"
	"time"
)

const (
	foregroundFor = 100 * time.Millisecond // after a flush somebody is at work
	nearLag       = 64 << 20               // bytes: who is no farther behind does not give way
)

// pacer bounds the rate of what is sent to a peer that catches up. While somebody works
// with the volume it rests as long as it works.
type pacer struct {
	rate int64 // bytes a second; 0: no bound
	due  time.Time
	from time.Time // of the present stretch of work
}

// foreground reports whether somebody works with the volume, and this peer is so far behind
// that it should give way: one that is near would never arrive.
func (s *session) foreground() bool {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now()-h.flushed < foregroundFor && h.flushed > 0 && (s.p.state == Staging || h.lag(s.p.sent) > nearLag)
}

// pause waits after n bytes were sent.
func (p *pacer) pause(ctx context.Context, n int, foreground bool) error {
	now := time.Now()
	if p.from.IsZero() {
		p.from, p.due = now, now
	}
	worked := now.Sub(p.from)
	rest := time.Duration(0)
	if foreground {
		rest = min(worked, foregroundFor)
	}
	if p.rate > 0 {
		p.due = later(p.due, p.from).Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
		rest = max(rest, p.due.Sub(now))
	}
	if rest > 0 {
		wait(ctx, rest)
	}
	p.from = time.Now()
	return ctx.Err()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
