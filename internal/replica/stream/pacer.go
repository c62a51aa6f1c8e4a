package stream

import (
	"context"
	"time"
)

const (
	foregroundFor = 100 * time.Millisecond // after a flush somebody is at work
	nearLag       = 64 << 20               // bytes: who is no farther behind does not give way
	gainEvery     = time.Second            // how often a peer is asked whether it gains on who works
	gainPause     = 10 * time.Second       // for which one that did not gives way no more
)

// pacer bounds the rate of what is sent to a peer that catches up. While somebody works
// with the volume it rests as long as it works.
type pacer struct {
	rate int64 // bytes a second; 0: no bound
	due  time.Time
	from time.Time // of the present stretch of work
}

// foreground reports whether somebody works with the volume, and this peer is so far behind
// that it should give way: one that is near, that does not gain, or whose log is at stake, would never arrive.
func (s *session) foreground() bool {
	h := s.h
	h.mu.Lock()
	after := s.p.has()
	h.mu.Unlock()
	pressed := h.log.Pressure(after) >= atStake
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if now-h.flushed >= foregroundFor || h.flushed == 0 {
		return false
	}
	if s.p.state == Staging {
		return s.p.vain == 0 && !pressed
	}
	lag := h.lag(s.p.sent)
	return !pressed && lag > nearLag && s.gain.gives(now, lag)
}

// gain is whether a peer comes closer to somebody who works.
type gain struct {
	at    time.Duration // when the lag was looked at; 0: not yet
	lag   int64         // bytes
	until time.Duration // when it may give way again
}

// gives reports whether a peer with that lag can afford to give way.
func (g *gain) gives(now time.Duration, lag int64) bool {
	if g.at == 0 || now-g.at >= gainEvery {
		if g.at > 0 && lag >= g.lag {
			g.until = now + gainPause
		}
		g.at, g.lag = now, lag
	}
	return now >= g.until
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
