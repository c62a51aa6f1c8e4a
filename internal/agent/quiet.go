package agent

import (
	"log/slog"
	"sync"
	"time"
)

const quietFor = 30 * time.Second

// quiet logs a failure that repeats the first time, and then at most every 30
// seconds, with how often it happened meanwhile.
type quiet struct {
	log *slog.Logger

	mu   sync.Mutex // guards seen
	seen map[string]*repeated
}

type repeated struct {
	logged time.Time
	since  int // times since it was logged
}

func newQuiet(log *slog.Logger) *quiet {
	return &quiet{log: log, seen: map[string]*repeated{}}
}

// warn logs a failure that key tells from others.
func (q *quiet) warn(key, message string, args ...any) {
	if times, ok := q.due(key, time.Now()); ok {
		q.log.With("times", times).With(args...).Warn(message) //nolint:sloglint // callers pass constants
	}
}

func (q *quiet) due(key string, now time.Time) (times int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.seen[key]
	if r == nil {
		r = &repeated{}
		q.seen[key] = r
	}
	r.since++
	if !r.logged.IsZero() && now.Sub(r.logged) < quietFor {
		return 0, false
	}
	times, r.since, r.logged = r.since, 0, now
	return times, true
}

// over says that the failure has ended: the next one is logged at once.
func (q *quiet) over(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.seen, key)
}
