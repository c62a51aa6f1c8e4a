package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	helloLimit = 10 * time.Second // for the answer to the first message
	pulseBusy  = 500 * time.Millisecond
	pulseIdle  = 5 * time.Second
	byeLimit   = time.Second
	maxSilence = time.Minute // that a peer may announce
)

var errEnded = errors.New("the copy ended the stream")

// session is one connection to a peer.
type session struct {
	h       *Hub
	p       *peer
	conn    net.Conn
	attempt uint64
	in      *wire.Reader
	replies chan wire.Message // to what was asked before records are streamed
	ended   chan struct{}     // closed when nothing is read any more
	why     error             // set before that

	heard     time.Duration // when the read deadline was set
	silent    time.Duration // how long the peer may be, as it announced
	unflushed int           // bytes of the log since a flush was asked for
	flushed   time.Duration // when that was
	flushing  ballast.LSN   // what was asked for, if it is not known to be durable
	synced    time.Duration // when what was asked for before was seen to be
	pacer     pacer
	gain      gain
	told      wire.Welcome

	pulsing sync.Mutex // guards both
	pulse   *time.Timer
	over    bool
}

func newSession(p *peer, conn net.Conn, attempt uint64) *session {
	return &session{
		h: p.h, p: p, conn: conn, attempt: attempt, in: wire.NewReader(conn), silent: p.h.cfg.Patience,
		replies: make(chan wire.Message, 4), ended: make(chan struct{}), pacer: pacer{rate: p.h.cfg.Rate},
	}
}

// close ends the connection, and forgets what was on its way.
func (s *session) close() {
	s.pulsing.Lock()
	s.over = true
	if s.pulse != nil {
		s.pulse.Stop()
	}
	s.pulsing.Unlock()
	_ = s.conn.Close() // nothing more is said
	s.h.mu.Lock()
	p := s.p
	if p.conn != nil && !p.live {
		p.there = s.h.now()
	}
	p.conn, p.streaming, p.live, p.flying, p.flyBytes = nil, false, false, nil, 0
	s.h.mu.Unlock()
	p.sending.Lock()
	defer p.sending.Unlock()
	p.out = nil
}

// serve brings the peer to where it follows, and streams to it.
func (s *session) serve(ctx context.Context) error {
	state, err := s.greet()
	if err != nil {
		return err
	}
	s.told = *state
	p := s.p
	s.h.mu.Lock()
	p.conn, p.size, p.received, p.durable = s.conn, state.Size, 0, 0
	p.told, p.flushSent, p.sent = 0, 0, 0
	s.h.mu.Unlock()
	// Pings come from a timer; messages are sent from here, and read over there.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, s.giveUp)
	defer stop()
	s.startPulse()
	go func() {
		defer close(s.ended)
		s.why = s.read(ctx)
	}()
	return s.finish(ctx, cancel, s.lead(ctx, state))
}

// giveUp ends what is being read, and soon what is being written.
func (s *session) giveUp() {
	_ = s.conn.SetReadDeadline(time.Unix(1, 0))             // see extend
	time.AfterFunc(byeLimit, func() { _ = s.conn.Close() }) // close does it again
}

// finish waits for the reader, who knows better why the stream ended if the peer ended it.
func (s *session) finish(ctx context.Context, cancel context.CancelFunc, err error) error {
	switch {
	case errors.Is(err, errEnded):
	case errors.Is(err, errWrite):
		late := time.AfterFunc(byeLimit, cancel)
		defer late.Stop()
	case ctx.Err() != nil:
		_ = s.send(&wire.Bye{Text: "the volume is detached, or no copy is wanted there any more"}) // it notices anyway
	default:
		_ = s.send(&wire.Bye{Text: err.Error()}) // it notices anyway
		cancel()
	}
	<-s.ended
	if _, refused := errors.AsType[*wire.Refuse](s.why); refused || errors.Is(err, errEnded) || errors.Is(err, errWrite) {
		return s.why
	}
	return err
}

// greet says who leads, and returns where the copy stands.
func (s *session) greet() (*wire.Welcome, error) {
	h := s.h
	last, _, _ := h.log.Position()
	if err := s.conn.SetDeadline(time.Now().Add(helloLimit)); err != nil {
		return nil, err
	}
	err := wire.Write(s.conn, &wire.Hello{
		Min: wire.MinVersion, Max: wire.MaxVersion, Cluster: h.cfg.Cluster, Volume: h.log.ID(), Node: h.cfg.Node,
		Epoch: h.epoch, Size: h.log.Size(), Last: last, Lineage: h.lineage,
	})
	if err != nil {
		return nil, err
	}
	m, err := s.in.Next()
	if err != nil {
		return nil, fmt.Errorf("greet %s: %w", s.p.node, err)
	}
	switch m := m.(type) {
	case *wire.Welcome:
		if _, ok := wire.Negotiate(m.Version, m.Version); !ok || m.Node != s.p.node {
			return nil, fmt.Errorf("greet %s: it answers as %s, in version %d", s.p.node, m.Node, m.Version)
		}
		return m, nil
	case *wire.Refuse:
		return nil, fmt.Errorf("%s refuses: %w", s.p.node, m)
	default:
		return nil, fmt.Errorf("greet %s: it answers with kind %d", s.p.node, m.Kind())
	}
}

// lead brings the copy to where it can follow the log, and then streams.
func (s *session) lead(ctx context.Context, w *wire.Welcome) error {
	s.p.spare(true, true)
	state := replica.State{Lineage: w.Lineage, Last: w.Last, Applied: w.Applied, Complete: w.Complete}
	for {
		m, err := s.meet(state)
		if err != nil {
			return err
		}
		if m.FromLog {
			return s.follow(ctx, m.Cut, state.Last)
		}
		if state, err = s.stage(ctx, m, state); err != nil {
			return err
		}
	}
}

// meet decides how the copy gets to have what is here.
func (s *session) meet(state replica.State) (replica.Meeting, error) {
	h := s.h
	last, _, _ := h.log.Position()
	at := replica.Position{Lineage: h.lineage, Last: last}
	m := replica.Meet(at, state)
	if !m.FromLog {
		return m, nil
	}
	h.log.Keep(s.p.reader(), m.Cut)
	_, err := h.log.ReadLog(m.Cut, 1)
	if errors.Is(err, volume.ErrRecycled) {
		at.Oldest = m.Cut + 2 // or later
		return replica.Meet(at, state), nil
	}
	return m, err
}

// follow has the copy, which has records up to last, cut what is not the history, and streams
// from there.
func (s *session) follow(ctx context.Context, cut, last ballast.LSN) error {
	h, p := s.h, s.p
	if seeded(followUncut) {
		cut = max(cut, s.told.Last)
	}
	if err := s.send(&wire.Follow{Epoch: h.epoch, Cut: cut, Lineage: h.lineage}); err != nil {
		return err
	}
	ack, err := reply[*wire.Ack](s)
	if err != nil {
		return err
	}
	if ack.Received != cut || ack.Durable != cut {
		return fmt.Errorf("%s was to be cut to record %d, and says that it has %d, %d of them durable", p.node, cut, ack.Received, ack.Durable)
	}
	pressure := h.log.Pressure(cut)
	h.mu.Lock()
	if p.keeps > 0 {
		p.drag.per = max(p.drag.per, dragUnder(pressure))
	}
	p.sent, p.received, p.durable = cut, cut, cut
	p.streaming = true
	p.drag.at = 0 // how far it was behind before says nothing about now
	p.setState(CatchingUp, nil)
	h.step(replica.Connected{Node: p.node, Stream: s.attempt, Added: p.at.Added, Durable: cut, Complete: true})
	missing := h.last - min(cut, h.last)
	h.mu.Unlock()
	h.cfg.Log.Info("copy follows the log", "volume", h.log.ID(), "node", p.node, "from_lsn", uint64(cut+1), "cut", uint64(last-min(cut, last)), "missing", uint64(missing))
	return s.stream(ctx)
}

// reply waits for the answer to what was asked.
func reply[M wire.Message](s *session) (M, error) {
	var none M
	select {
	case <-s.ended:
		return none, errEnded
	case m := <-s.replies:
		if m, ok := m.(M); ok {
			return m, nil
		}
		return none, fmt.Errorf("%s answers with kind %d", s.p.node, m.Kind())
	}
}

// send writes messages in one piece.
func (s *session) send(ms ...wire.Message) error {
	p := s.p
	p.sending.Lock()
	defer p.sending.Unlock()
	for _, m := range ms {
		p.out = wire.Encode(p.out, m)
	}
	return p.writeOut(writeLimit)
}

// read takes what the peer says until the connection ends, and returns why it did.
func (s *session) read(ctx context.Context) error {
	defer s.in.Close()
	for {
		if err := s.extend(ctx); err != nil {
			return err
		}
		m, err := s.in.Next()
		if err != nil {
			return fmt.Errorf("read from %s: %w", s.p.node, err)
		}
		if err := s.take(m); err != nil {
			return err
		}
	}
}

// extend moves the read deadline (S3).
func (s *session) extend(ctx context.Context) error {
	now := s.h.now()
	if now-s.heard < pulseBusy && s.heard > 0 {
		return nil
	}
	s.heard = now
	if err := s.conn.SetReadDeadline(time.Now().Add(s.silent)); err != nil {
		return err
	}
	return ctx.Err() // it may have ended before the deadline was set
}

// take does what a message says.
func (s *session) take(m wire.Message) error {
	switch m := m.(type) {
	case *wire.Ack:
		return s.acked(m)
	case *wire.Staged:
		return s.answer(m)
	case *wire.StageAck:
		return nil
	case *wire.Ping:
		s.silent = s.h.cfg.Patience + min(time.Duration(m.NextMillis)*time.Millisecond, maxSilence)
		s.heard = 0
		return nil
	case *wire.Refuse:
		return fmt.Errorf("%s refuses to go on: %w", s.p.node, m)
	case *wire.Bye:
		return fmt.Errorf("%s says goodbye: %s", s.p.node, m.Text)
	case *wire.Hello, *wire.Welcome, *wire.Follow, *wire.Append, *wire.Flush, *wire.Commit, *wire.Resize,
		*wire.Compare, *wire.StageBegin, *wire.Chunk, *wire.StageEnd:
	}
	return fmt.Errorf("%s sends kind %d, which is not for a leader", s.p.node, m.Kind())
}

// answer hands on what was asked for.
func (s *session) answer(m wire.Message) error {
	select {
	case s.replies <- m:
		return nil
	default:
		return fmt.Errorf("%s answers what it was not asked", s.p.node)
	}
}

// acked takes an acknowledgement: the hot path of a flush ends here.
func (s *session) acked(m *wire.Ack) error {
	h, p := s.h, s.p
	h.mu.Lock()
	defer h.mu.Unlock()
	if !p.streaming {
		return s.answer(&wire.Ack{Received: m.Received, Durable: m.Durable})
	}
	if m.Received > p.sent {
		return fmt.Errorf("%s acknowledges record %d, and was sent %d", p.node, m.Received, p.sent)
	}
	durable := m.Durable
	if seeded(countReceived) {
		durable = m.Received
	}
	p.acked(m.Received, durable)
	if p.flushSent < min(h.wanted, p.sent) && p.durable >= p.flushSent {
		p.kick() // see gatherFlush
	}
	h.step(replica.Acked{Node: p.node, Stream: s.attempt, Received: m.Received, Durable: durable})
	return nil
}

// startPulse begins to send pings. It holds no goroutine between two.
func (s *session) startPulse() {
	s.pulsing.Lock()
	defer s.pulsing.Unlock()
	s.pulse = time.AfterFunc(pulseBusy, s.beat)
}

// beat says that this side is there, and what else was not worth a write of its own.
func (s *session) beat() {
	h, p := s.h, s.p
	size := h.log.Size()
	p.sending.Lock()
	h.mu.Lock()
	if p.conn != s.conn { // it is over
		h.mu.Unlock()
		p.sending.Unlock()
		return
	}
	h.size = max(h.size, size)
	if p.streaming {
		if frames, ok := h.ring.after(p.sent); ok {
			p.gather(some(frames))
		}
	}
	next := pulseBusy
	if h.now()-p.busy > busyFor {
		next = pulseIdle
	}
	if p.live {
		p.drag.less(p.drag.per / 2)
	}
	durable, streaming := p.durable, p.streaming
	p.out = wire.Encode(p.out, &wire.Ping{NextMillis: uint32(next.Milliseconds())})
	h.mu.Unlock()
	err := p.writeOut(writeLimit)
	p.sending.Unlock()
	if streaming {
		h.log.Keep(p.reader(), durable)
	}
	s.pulsing.Lock()
	defer s.pulsing.Unlock()
	if !s.over && err == nil {
		s.pulse.Reset(next)
	}
}
