// Package quiet logs what happens again and again without filling the disk with it.
package quiet

import (
	"log/slog"
	"sync"
	"time"
)

const (
	silence = 30 * time.Second
	maxKeys = 1024 // what is told apart at once
	others  = "others"
)

// Log writes a warning the first time, and then at most every 30 seconds, with how
// often there was one meanwhile. It remembers at most 1,024 keys, whoever chooses
// them. Its methods may be called concurrently.
type Log struct {
	to *slog.Logger

	mu   sync.Mutex // guards seen
	seen map[string]*repeated
}

type repeated struct {
	logged time.Time
	since  int // times since it was logged
}

// NewLog returns a Log that writes to another.
func NewLog(to *slog.Logger) *Log { return &Log{to: to, seen: map[string]*repeated{}} }

// Warn logs a failure that key tells from others.
func (l *Log) Warn(key, message string, args ...any) {
	if times, ok := l.due(key, time.Now()); ok {
		l.to.With("times", times).With(args...).Warn(message) //nolint:sloglint // callers pass constants
	}
}

// Over says that the failure has ended: the next one is logged at once.
func (l *Log) Over(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, key)
}

// due counts one more, and says whether it is logged now, standing for how many.
func (l *Log) due(key string, now time.Time) (times int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.entryLocked(key, now)
	r.since++
	if !r.logged.IsZero() && now.Sub(r.logged) < silence {
		return 0, false
	}
	times, r.since, r.logged = r.since, 0, now
	return times, true
}

// entryLocked finds or makes the entry of a key. Where there are too many, those that
// were silent for a while are forgotten, and after that what is new shares an entry.
func (l *Log) entryLocked(key string, now time.Time) *repeated {
	if l.seen[key] == nil && len(l.seen) >= maxKeys {
		l.dropLocked(now)
	}
	if l.seen[key] == nil && len(l.seen) >= maxKeys {
		key = others
	}
	if l.seen[key] == nil {
		l.seen[key] = &repeated{}
	}
	return l.seen[key]
}

func (l *Log) dropLocked(now time.Time) {
	for key, r := range l.seen {
		if now.Sub(r.logged) >= silence {
			delete(l.seen, key)
		}
	}
}
