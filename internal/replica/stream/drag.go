package stream

import (
	"time"

	"github.com/ballast-io/ballast"
)

// Why catching up ends, however fast and long somebody writes. Say the image has I bytes; then the
// log keeps K >= I for a copy that is there, or was less than [spareFor] ago, and more where there
// is a queue. A filling brings the copy to a record S, sends at most I and writes that
// once more. It is in vain if more than K was written meanwhile: then the log no longer has what is
// behind S.
//
//   - Once half of K is taken writers rest for each MiB that they write, and the longer the less is
//     left ([dragUnder]): behind three quarters no more than 1 MiB is written in a second. So no
//     filling is in vain that takes less than K/4 seconds (K in MiB), and the copy gives way to nobody then.
//   - Each one that was in vain is followed by one under at least twice the drag, up to the same
//     1 MiB a second, which lasts until the copy is live. So after eight of them none is
//     that takes less than K seconds: of a copy that takes 2 MiB in a second, once to
//     receive and once to merge. It gets what changed since S alone, and goes on with what a broken
//     attempt left: neither a lost connection nor a new session begins with less drag, or less log.
//   - Behind S the copy reads the log, under the drag that was needed in the end. As long as it does
//     not gain that doubles every second ([drag.look]), up to the same where more than half of K
//     is taken. One that gains holds nobody up, however much it lacks.
//   - It syncs for half of the time at most ([session.mayFlush]), so it takes at least half of
//     what its disk can write; and it is required, and waited for, from when it has what was committed a
//     quarter of the patience ago, which is more than a sync takes that it could count with.
//
// A disk that is full is another matter: there the log gives way before writers do, and the
// copy begins again when there is room. TestCatchingUpEnds attacks this (S5).
const (
	leastDrag = 5 * time.Millisecond   // of writers, for each MiB
	mostDrag  = 200 * time.Millisecond // a copy that does not gain on 5 MB/s does not hold them up more,
	hardDrag  = time.Second            // but where the log would be too short for it
	mostRest  = time.Second            // of a writer at once

	atStake  = 0.5              // of what the log keeps: from then on writers rest
	dragFor  = 20 * time.Second // for a copy whose stream broke while it caught up: it may be merging
	spareFor = time.Minute      // after a copy has gone the log keeps no more for it than for others
)

// drag is how long writers rest for each MiB, so that a copy which catches up gains on them.
// Writers that are faster than the way to a copy would keep it from ever counting again.
type drag struct {
	at  time.Duration // when the lag was looked at; 0: not yet
	lag int64         // bytes
	per time.Duration // for each MiB
}

// look adapts it to a copy that is behind, up to a bound.
func (d *drag) look(now time.Duration, lag int64, most time.Duration) {
	if d.at > 0 && now-d.at < gainEvery {
		return
	}
	switch {
	case d.at == 0:
	case lag > RingSize && lag >= d.lag-d.lag/16:
		d.more(most)
	case lag <= d.lag-d.lag/4:
		d.less(d.per / 4)
	}
	d.at, d.lag = now, lag
}

func (d *drag) more(most time.Duration) { d.per = max(d.per, min(max(2*d.per, leastDrag), most)) }

func (d *drag) less(by time.Duration) {
	if d.per -= by; d.per < leastDrag {
		d.per = 0
	}
}

// dragUnder is what is needed when so much of what the log keeps is taken: 5 ms for each MiB at
// the half, twice as much for each further 32nd.
func dragUnder(pressure float64) time.Duration {
	const steps = 32
	if pressure < atStake {
		return 0
	}
	return min(leastDrag<<min(int((pressure-atStake)*steps), steps), hardDrag)
}

// drag is how long writers rest for each MiB, for the sake of peers that are there or catch up, and
// from where on those will need the log that get chunks. The caller holds mu.
func (h *Hub) drag() (per time.Duration, behind []ballast.LSN) {
	for _, p := range h.peers {
		if p.conn == nil && h.now()-p.there > dragFor {
			continue
		}
		per = max(per, p.drag.per)
		if p.keeps > 0 && !p.streaming {
			behind = append(behind, p.keeps)
		}
	}
	return per, behind
}

// has is up to where the peer does not need the log. The caller holds mu.
func (p *peer) has() ballast.LSN {
	if p.streaming {
		return p.durable
	}
	return p.keeps
}

// spare has the log keep more for a peer that catches up, or no more than for others.
func (p *peer) spare(spare, anew bool) {
	if p.spared != spare || anew {
		p.spared = spare
		p.h.log.Spare(p.reader(), spare)
	}
}

// unspare ends that for one that is not there for long.
func (p *peer) unspare() {
	p.h.mu.Lock()
	gone := p.h.now()-p.there > spareFor
	if gone {
		p.drag = drag{}
	}
	p.h.mu.Unlock()
	if gone {
		p.spare(false, false)
	}
}
