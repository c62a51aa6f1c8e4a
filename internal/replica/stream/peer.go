package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	dialLimit  = 10 * time.Second
	writeLimit = 10 * time.Second
	firstPause = 50 * time.Millisecond // between two attempts; doubles up to the patience
)

var errWrite = errors.New("write")

// peer is a copy on another node.
type peer struct {
	h      *Hub
	node   ballast.NodeID
	kicks  chan struct{}      // there may be something to send
	spared bool               // the log keeps more for it; only the peer's own goroutine knows
	leave  context.CancelFunc // for Hub.Run

	sending wire.Lock // held to write to conn; guards out
	out     []byte

	// guarded by Hub.mu
	at        replica.Peer // its address may change; a copy placed there anew is another peer
	state     State
	since     time.Time
	err       error
	conn      net.Conn
	stream    uint64 // which attempt conn is
	streaming bool   // it follows, and gets records
	live      bool   // from the ring; else from the log
	sent      ballast.LSN
	flushSent ballast.LSN
	told      ballast.LSN // committed, as it was told
	size      int64       // of the volume, as it was told
	received  ballast.LSN
	durable   ballast.LSN
	flying    []flight
	flyBytes  int
	progress  float64
	vain      int // fillings since it was live behind which the log was too short
	drag      drag
	keeps     ballast.LSN   // while it gets chunks: the log is to be there behind this
	there     time.Duration // when it was last seen to catch up
	busy      time.Duration // when it was last sent something
}

// flight is a frame that was sent and not acknowledged.
type flight struct {
	last ballast.LSN
	n    int
}

func newPeer(h *Hub, at replica.Peer) *peer {
	return &peer{h: h, node: at.Node, at: at, kicks: make(chan struct{}, 1), sending: wire.NewLock(), state: Connecting, since: time.Now(), there: -spareFor, leave: func() {}}
}

// reader is what the volume's log knows it by.
func (p *peer) reader() string { return "copy on " + string(p.node) }

func (p *peer) kick() {
	select {
	case p.kicks <- struct{}{}:
	default:
	}
}

// run keeps the peer connected until ctx ends.
func (p *peer) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := p.h.now()
		err := p.attempt(ctx)
		if ctx.Err() != nil {
			break
		}
		p.lost(err)
		p.unspare()
		switch {
		case errors.Is(err, volume.ErrRecycled) || p.h.now()-began > p.h.cfg.Patience:
			pause = firstPause
		default:
			pause = min(2*pause, p.h.cfg.Patience)
		}
		wait(ctx, pause)
	}
	p.h.mu.Lock()
	gone := p.h.peers[p.node] == nil
	p.h.mu.Unlock()
	if gone {
		p.h.log.Forget(p.reader())
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// attempt connects once, and serves the peer as long as that lasts.
func (p *peer) attempt(ctx context.Context) error {
	p.h.mu.Lock()
	p.h.attempts++
	at, stream := p.at, p.h.attempts
	p.stream = stream
	p.h.mu.Unlock()
	dctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := p.h.cfg.Dial(dctx, at)
	if err != nil {
		return fmt.Errorf("connect to %s at %s: %w", at.Node, at.Address, err)
	}
	s := newSession(p, conn, stream)
	defer s.close()
	return s.serve(ctx)
}

// lost tells the decisions that there is no connection.
func (p *peer) lost(err error) {
	h := p.h
	h.mu.Lock()
	defer h.mu.Unlock()
	e := replica.Disconnected{Node: p.node, Stream: p.stream, Reason: replica.Lost}
	if refused, ok := errors.AsType[*wire.Refuse](err); ok {
		e.Reason, e.Epoch = reasonOf(refused.Code), refused.Epoch
	}
	if p.err == nil || err.Error() != p.err.Error() {
		h.cfg.Log.Warn("stream to copy ended", "volume", h.log.ID(), "node", p.node, "error", err)
	}
	if errors.Is(err, volume.ErrRecycled) {
		p.drag.more(hardDrag)
	}
	p.setState(Connecting, err)
	h.step(e)
}

// reasonOf says to the decisions what a refusal means.
func reasonOf(c wire.Code) replica.Reason {
	switch c {
	case wire.CodeEpoch:
		return replica.StaleEpoch
	case wire.CodeNoRoom:
		return replica.NoRoom
	case wire.CodeFailed:
		return replica.Failed
	case wire.CodeOther, wire.CodeVersion, wire.CodeCluster, wire.CodeNotAllowed, wire.CodeBusy, wire.CodeProtocol, wire.CodeDiverged:
	}
	return replica.Lost
}

// setState notes what the stream does. The caller holds mu.
func (p *peer) setState(s State, err error) {
	if p.state != s {
		p.since = time.Now()
		p.h.poke()
	}
	p.state, p.err = s, err
}

// status is for people. The caller holds mu.
func (p *peer) status() PeerStatus {
	s := PeerStatus{Node: p.node, State: p.state, Received: p.received, Durable: p.durable, LagBytes: p.h.lag(p.durable), Since: p.since}
	if p.state == Staging {
		s.Progress = p.progress
	}
	if p.err != nil {
		s.Err = p.err.Error()
	}
	return s
}

// acked notes what the peer has. The caller holds mu.
func (p *peer) acked(received, durable ballast.LSN) {
	p.received, p.durable = max(p.received, received), max(p.durable, durable)
	for len(p.flying) > 0 && p.flying[0].last <= p.received {
		p.flyBytes -= p.flying[0].n
		p.flying = p.flying[1:]
	}
}

// writeOut writes what was gathered. The caller holds sending.
func (p *peer) writeOut(limit time.Duration) error {
	p.h.mu.Lock()
	conn := p.conn
	p.h.mu.Unlock()
	if conn == nil || len(p.out) == 0 {
		return nil
	}
	err := conn.SetWriteDeadline(time.Now().Add(limit))
	if err == nil {
		_, err = conn.Write(p.out)
	}
	p.out = p.out[:0]
	if cap(p.out) > 2*inlineLimit {
		p.out = nil
	}
	if err != nil {
		// Whoever reads says why, when the other side did; it has not long.
		_ = conn.SetReadDeadline(time.Now().Add(time.Second)) // or it ends at once
		return fmt.Errorf("%w to %s: %w", errWrite, p.node, err)
	}
	return nil
}
