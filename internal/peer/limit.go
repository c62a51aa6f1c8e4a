package peer

import (
	"net"
	"sync"
	"time"
)

const (
	maxFailures  = 10              // in a row, of one machine
	forgiveEvery = 6 * time.Second // one of them
	maxMachines  = 4096            // remembered at once
)

// limit bounds how often each machine may fail (P6).
type limit struct {
	mu   sync.Mutex // guards seen
	seen map[string]failures
}

type failures struct {
	count int
	since time.Time // from when on they are forgiven, one by one
}

func newLimit() *limit { return &limit{seen: map[string]failures{}} }

// now returns what is left of f.
func (f failures) at(now time.Time) failures {
	forgiven := int(now.Sub(f.since) / forgiveEvery)
	if forgiven <= 0 {
		return f
	}
	return failures{max(0, f.count-forgiven), f.since.Add(time.Duration(forgiven) * forgiveEvery)}
}

// may reports whether host may try.
func (l *limit) may(host string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[machineOf(host)].at(now).count < maxFailures
}

// count notes a failure of host.
func (l *limit) count(host string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	machine := machineOf(host)
	f, known := l.seen[machine]
	if !known {
		if len(l.seen) >= maxMachines {
			l.forgetLocked(now)
		}
		f.since = now
	}
	f = f.at(now)
	f.count++
	l.seen[machine] = f
}

// forgetLocked makes room: first of those who are forgiven, else of anybody.
func (l *limit) forgetLocked(now time.Time) {
	for machine, f := range l.seen {
		if f.at(now).count == 0 {
			delete(l.seen, machine)
		}
	}
	for machine := range l.seen {
		if len(l.seen) < maxMachines {
			return
		}
		delete(l.seen, machine)
	}
}

// machineOf returns what tells machines apart: one has a whole network of version 6.
func machineOf(host string) string {
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
