package replica

import (
	"time"

	"github.com/ballast-io/ballast"
)

// peer is what the leader knows of another copy.
type peer struct {
	node      ballast.NodeID
	added     int64 // which of the copies that were placed there, one after another
	stream    uint64
	connected bool
	complete  bool
	reason    Reason // why it is not connected
	received  ballast.LSN
	durable   ballast.LSN // by its word, in this stream or an earlier one
	inSync    bool        // says the record
	joining   bool        // required, so that it can be asked to be added
	owing     stopwatch   // somebody waits for it, and it does not move

	hold      time.Duration // how long it stays out after its latest removal
	outUntil  time.Duration
	inSyncFor stopwatch
}

func (p *peer) connect(e Connected) {
	p.stream, p.connected, p.complete, p.reason = e.Stream, true, e.Complete, Lost
	// Less than before: it lost its files. What it has now is what counts.
	p.received, p.durable = e.Durable, e.Durable
}

func (p *peer) acked(e Acked, now time.Duration) {
	p.received = max(p.received, e.Received, e.Durable)
	if e.Durable > p.durable {
		p.durable = e.Durable
		p.owing.since = now
	}
}

// removed keeps a copy that comes and goes from stopping writers each time: it stays
// out twice as long as the time before.
func (p *peer) removed(now, patience time.Duration) {
	p.hold = min(max(p.hold*2, patience), maxHold*patience)
	p.outUntil = now + p.hold
}

// maxHold is how many times the patience a copy stays out at most.
const maxHold = 16

// gone reports whether it said itself that it cannot go on.
func (p *peer) gone() bool {
	return p.lost() || !p.connected && (p.reason == NoRoom || p.reason == Failed)
}

// lost reports whether an in-sync copy has not what it had: its disk is another one.
func (p *peer) lost() bool { return p.inSync && p.connected && !p.complete }
