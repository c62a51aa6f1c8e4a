package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	writeSize  = 256 << 10 // bytes of one write, if it is more than one frame
	logRead    = 1 << 20   // bytes that are read from the log at once
	flushEvery = 8 << 20   // bytes of the log between two flushes

	// flushWithin is how long a copy that catches up is not asked to flush: on a slow link, too,
	// it shall be seen to come nearer.
	flushWithin = 100 * time.Millisecond
)

// tryDirect gathers what a flush needs for the caller to write, who then holds sending. It
// reports false when the peer's own goroutine sends it. The caller holds mu.
func (p *peer) tryDirect() bool {
	if !p.streaming {
		return false
	}
	if !p.sending.TryLock() {
		p.kick()
		return false
	}
	frames, ok := p.h.ring.after(p.sent)
	n := p.flyBytes
	for _, s := range frames {
		n += s.n
	}
	if !ok || n > inlineLimit {
		p.kick()
		p.sending.Unlock()
		return false
	}
	p.setState(Streaming, nil)
	p.live = true
	p.gather(frames)
	return true
}

// gather puts frames into out, with what else the peer is to be told. The caller holds
// sending and mu.
func (p *peer) gather(frames []slot) {
	p.gatherHead()
	for _, s := range frames {
		p.out = append(p.out, p.h.ring.bytes(s)...)
		p.noteSent(s.last, s.n)
	}
	p.gatherFlush()
	p.h.trim()
}

// gatherHead puts into out what comes before records: the size that they may need, and
// what is committed.
func (p *peer) gatherHead() {
	if p.size < p.h.size && !seeded(forgetResize) {
		p.size = p.h.size
		p.out = wire.Encode(p.out, &wire.Resize{Size: p.size})
	}
	if p.told < p.h.committed {
		p.told = p.h.committed
		p.out = wire.Encode(p.out, &wire.Commit{LSN: p.told})
	}
}

// gatherFlush asks for what somebody waits for, once it was sent. Nobody waits for a copy that only
// catches up: it syncs what came while it synced what came before, and no smaller pieces, else it
// would not come closer to a writer that is as fast as it.
func (p *peer) gatherFlush() {
	want := min(p.h.wanted, p.sent)
	if want > p.flushSent && want > p.durable && (p.live && p.durable >= p.flushSent || p.h.leader.Requires(p.node)) {
		p.flushSent = want
		p.out = wire.Encode(p.out, &wire.Flush{LSN: want})
	}
}

// noteSent notes a frame that was put into out.
func (p *peer) noteSent(last ballast.LSN, n int) {
	p.sent = last
	p.flying = append(p.flying, flight{last, n})
	p.flyBytes += n
	p.busy = p.h.now()
}

// trim lets go of the frames that every stream was sent. The caller holds mu.
func (h *Hub) trim() {
	all := h.last
	for _, p := range h.peers {
		if p.streaming {
			all = min(all, p.sent)
		}
	}
	h.ring.forget(all)
}

// stream sends records from behind p.sent on until the connection ends, in the peer's own
// goroutine.
func (s *session) stream(ctx context.Context) error {
	for {
		sent, behind, err := s.sendRing()
		s.p.spare(behind, false)
		if behind && err == nil {
			sent, err = s.sendLog(ctx)
		}
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ended:
			return errEnded
		case <-s.p.kicks:
		}
	}
}

// sendRing sends some of what the ring has for the peer. It reports whether that was
// records, and whether the peer is behind what the ring has.
func (s *session) sendRing() (sent, behind bool, err error) {
	p, h := s.p, s.h
	size := h.log.Size()
	p.sending.Lock()
	defer p.sending.Unlock()
	h.mu.Lock()
	h.size = max(h.size, size)
	frames, ok := h.ring.after(p.sent)
	if !ok && seeded(shipPastGap) {
		frames, ok = h.ring.frames, true
	}
	p.live = ok || p.sent >= h.last
	if p.live {
		p.keeps, p.vain = 0, 0
		p.setState(Streaming, nil)
	}
	frames = some(frames)
	p.gather(frames)
	behind = !p.live
	h.mu.Unlock()
	return len(frames) > 0, behind, p.writeOut(writeLimit)
}

// some returns as many frames as go into one write, at least one.
func some(frames []slot) []slot {
	n := 0
	for i, s := range frames {
		if n += s.n; n > writeSize && i > 0 {
			return frames[:i]
		}
	}
	return frames
}

// sendLog sends a piece of the volume's log, and reports whether there was one (S1). What
// is not durable here yet is not read: the next [Hub.Durable] calls again.
func (s *session) sendLog(ctx context.Context) (bool, error) {
	p, h := s.p, s.h
	h.mu.Lock()
	after, most := p.sent, mostDrag
	h.mu.Unlock()
	if h.log.Pressure(after) >= atStake {
		most = hardDrag
	}
	h.mu.Lock()
	p.setState(CatchingUp, nil)
	before := p.drag.per
	p.drag.look(h.now(), h.lag(after), most)
	slowed := before == 0 && p.drag.per > 0
	h.mu.Unlock()
	if slowed {
		h.cfg.Log.Info("copy does not gain on the writers, and slows them down", "volume", h.log.ID(), "node", p.node)
	}
	batches, err := h.log.ReadLog(after, logRead)
	if err != nil {
		return false, fmt.Errorf("read log of volume %s for %s: %w", h.log.ID(), p.node, err)
	}
	size, n := h.log.Size(), 0
	for _, b := range batches {
		if b.First != after+1 {
			return false, fmt.Errorf("read log of volume %s for %s: records from %d on were read behind record %d", h.log.ID(), p.node, b.First, after)
		}
		after = b.Last()
		n += wire.FrameSize(len(b.Records), len(b.Data))
		if err := s.sendBatch(b, size); err != nil {
			return false, err
		}
	}
	if s.unflushed > 0 && s.mayFlush(len(batches) == 0) {
		s.unflushed, s.flushed, s.flushing = 0, h.now(), after
		if err := s.send(&wire.Flush{LSN: after}); err != nil {
			return false, err
		}
	}
	return len(batches) > 0, s.pacer.pause(ctx, n, s.foreground())
}

// mayFlush reports whether the copy shall sync what it was sent: when it has done so with what came
// before, and was sent more for as long as that took. Else one whose disk takes long
// for a sync would take nothing meanwhile, and never come nearer.
func (s *session) mayFlush(all bool) bool {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if s.flushing > 0 {
		if s.p.durable < s.flushing {
			return false
		}
		s.flushing, s.synced = 0, now
	}
	took := max(flushWithin, s.synced-s.flushed)
	return all || s.unflushed >= flushEvery && took == flushWithin || now-s.synced >= took
}

// sendBatch sends a batch of the log. A flush goes with it when somebody waits for that
// batch; who waits for a later one is not helped by a copy that syncs after each.
func (s *session) sendBatch(b volume.Batch, size int64) error {
	p, h := s.p, s.h
	p.sending.Lock()
	defer p.sending.Unlock()
	h.mu.Lock()
	h.size = max(h.size, size)
	p.gatherHead()
	p.out = wire.Encode(p.out, &wire.Append{Batch: b})
	n := wire.FrameSize(len(b.Records), len(b.Data))
	p.noteSent(b.Last(), n)
	s.unflushed += n
	if p.sent >= h.wanted {
		p.gatherFlush()
	}
	if p.flushSent >= p.sent {
		s.unflushed, s.flushed = 0, h.now()
	}
	h.trim()
	h.mu.Unlock()
	return p.writeOut(writeLimit)
}
