package peer

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	quietFor   = 30 * time.Second
	maxNoted   = 1024 // kinds of refusal that are told apart at once
	otherKinds = "others"
)

// refusals logs what was refused: each kind at once, then at most every 30 seconds
// with how often; strangers cannot fill the disk with lines (P6).
type refusals struct {
	log *slog.Logger

	mu   sync.Mutex // guards seen
	seen map[string]*repeated
}

type repeated struct {
	logged time.Time
	since  int // times since it was logged
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{log: log, seen: map[string]*repeated{}}
}

func (r *refusals) note(kind, message string, args ...any) {
	if times, ok := r.due(kind, time.Now()); ok {
		r.log.With("times", times).With(args...).Warn(message) //nolint:sloglint // callers pass constants
	}
}

func (r *refusals) due(kind string, now time.Time) (times int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[kind] == nil && len(r.seen) >= maxNoted {
		r.dropLocked(now)
	}
	if r.seen[kind] == nil && len(r.seen) >= maxNoted {
		kind = otherKinds
	}
	if r.seen[kind] == nil {
		r.seen[kind] = &repeated{}
	}
	seen := r.seen[kind]
	seen.since++
	if !seen.logged.IsZero() && now.Sub(seen.logged) < quietFor {
		return 0, false
	}
	times, seen.since, seen.logged = seen.since, 0, now
	return times, true
}

// dropLocked forgets what was not seen for a while.
func (r *refusals) dropLocked(now time.Time) {
	for kind, seen := range r.seen {
		if now.Sub(seen.logged) >= quietFor {
			delete(r.seen, kind)
		}
	}
}

// hostOf returns whom a connection comes from, without the port.
func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}
