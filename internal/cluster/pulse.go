package cluster

import "time"

// pulse decides how a node's own session goes on. Times are of CLOCK_BOOTTIME. It
// does no I/O and looks at no clock.
type pulse struct {
	lease  time.Duration
	number uint64        // of the session
	beat   uint64        // of the last write
	until  time.Duration // the session is good until then; 0: nobody was told of it yet
}

// resume begins with the session that the node had when its agent ended, if its time
// is not over, and else with the next one. stored is what etcd has, last and until
// what the node remembers.
func resume(lease time.Duration, stored storedSession, last uint64, until, now time.Duration) pulse {
	p := pulse{lease: lease, number: max(stored.Number, last), beat: stored.Beat, until: until}
	if last == 0 || stored.Number != last || now >= until {
		p.number, p.until = p.number+1, 0
	}
	return p
}

// write returns what is to be written at a moment. Once the session ran out that is the
// next one: whoever watched the earlier one may have claimed what was under it.
func (p *pulse) write(now time.Duration) storedSession {
	p.lapse(now)
	p.beat++
	return storedSession{Number: p.number, Beat: p.beat, Lease: p.lease.Milliseconds()}
}

// wrote takes in that what write returned at a moment was stored, as was heard at
// another. It reports whether the session is good, until p.until; when not, it must
// be written again at once.
func (p *pulse) wrote(asked, heard time.Duration) bool {
	// When this was stored is not known, only that it was between asked and heard. An
	// answer after the end of what was promised may be to a write that came too late.
	if p.lapse(heard) {
		return false
	}
	// From before the write was sent, and a tenth less for clocks that run unevenly:
	// who watches counts a whole lease from after it.
	if until := asked + p.lease - p.lease/10; heard < until {
		p.until = max(p.until, until)
		return true
	}
	return false
}

// lapse begins the next session when this one has run out.
func (p *pulse) lapse(now time.Duration) bool {
	if p.until == 0 || now < p.until {
		return false
	}
	p.number, p.until = p.number+1, 0
	return true
}
