package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica/wire"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	helloLimit = 10 * time.Second // for the first message
	writeLimit = 10 * time.Second // for each write
	pulseBusy  = 500 * time.Millisecond
	pulseIdle  = 5 * time.Second
	busyFor    = 10 * time.Second // after the last message that was no ping
	ackEvery   = 1 << 20          // bytes that are taken without a word
)

// session is one stream.
type session struct {
	r      *Receiver
	conn   net.Conn
	peer   ballast.NodeID
	cancel context.CancelCauseFunc

	in    *wire.Reader
	e     *entry
	hello *wire.Hello

	sending wire.Lock // held to write to conn; guards out
	out     []byte

	busy   atomic.Int64  // when the last message came that was no ping, monotonic
	heard  time.Duration // when the read deadline was set
	silent time.Duration // how long the leader may be, as it announced

	opened    uint64 // which opening of the copy the fields below are of
	following bool   // since Follow: batches are taken
	received  ballast.LSN
	durable   ballast.LSN
	committed ballast.LSN // by the leader's word, be it here or not
	unacked   int         // bytes taken since the last Ack
	flush     bool

	staging Staging
	puts    uint64
}

// Serve serves one stream of peer, which is proven to be that node, until it ends. It
// closes conn. A leader that says goodbye is no error.
func (r *Receiver) Serve(ctx context.Context, conn net.Conn, peer ballast.NodeID) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // see extend
	defer stop()
	s := &session{r: r, conn: conn, peer: peer, cancel: cancel, in: wire.NewReader(conn), sending: wire.NewLock(), silent: r.cfg.Patience}
	defer s.in.Close()
	err := s.serve(ctx)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	s.refuse(err)
	_ = conn.Close() // whatever was to be said was said
	if errors.Is(err, io.EOF) {
		return nil
	}
	if s.hello == nil {
		return fmt.Errorf("serve stream from %s: %w", peer, err)
	}
	return fmt.Errorf("serve stream of volume %s from %s: %w", s.hello.Volume, peer, err)
}

func (s *session) serve(ctx context.Context) error {
	if err := s.conn.SetReadDeadline(time.Now().Add(helloLimit)); err != nil {
		return err
	}
	if err := s.greet(ctx); err != nil {
		return err
	}
	if err := s.e.enter(ctx, s.hello.Epoch, s); err != nil {
		return err
	}
	err := s.stream(ctx)
	s.e.left(err)
	return err
}

// refusal is an error that the leader is told under a code.
type refusal struct {
	code wire.Code
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(code wire.Code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// greet reads the leader's first message, and decides whether it is listened to.
func (s *session) greet(ctx context.Context) error {
	m, err := s.in.Next()
	if err != nil {
		return err
	}
	hello, ok := m.(*wire.Hello)
	if !ok {
		return refuse(wire.CodeProtocol, "a stream begins with a hello, not with kind %d", m.Kind())
	}
	s.hello = hello
	here := s.r.cfg.Node
	if _, ok := wire.Negotiate(hello.Min, hello.Max); !ok {
		return refuse(wire.CodeVersion, "%s speaks versions %d to %d of the replication protocol and %s %d to %d: upgrade the older one",
			here, wire.MinVersion, wire.MaxVersion, s.peer, hello.Min, hello.Max)
	}
	if s.r.cfg.Cluster != "" && hello.Cluster != s.r.cfg.Cluster {
		return refuse(wire.CodeCluster, "%s is of another cluster than %s", here, s.peer)
	}
	if hello.Node != s.peer {
		return refuse(wire.CodeNotAllowed, "%s may not speak for %s", s.peer, hello.Node)
	}
	if s.e, err = s.r.entry(hello.Volume); err != nil {
		return err
	}
	return s.r.cfg.Allow(ctx, hello.Volume, s.peer, hello.Epoch)
}

// stream serves the leader, who has the turn.
func (s *session) stream(ctx context.Context) error {
	defer s.stopStaging()
	state, err := s.welcome(ctx)
	if err != nil {
		return err
	}
	s.received, s.durable = state.Last, state.Durable
	s.touch()
	pulse := s.startPulse()
	defer pulse.stop()
	for {
		if err := s.step(ctx); err != nil {
			return err
		}
	}
}

// welcome opens the copy, stores the epoch (R4), and says where it stands.
func (s *session) welcome(ctx context.Context) (state volume.FollowerState, err error) {
	err = s.e.useAlone(ctx, s.hello.Size, func(c Copy) error {
		s.opened = s.e.opened
		if err := c.Promise(s.hello.Epoch); err != nil && !seeded(serveOldEpoch) {
			return err
		}
		state = c.State()
		return state.Err
	})
	if err != nil {
		return state, err
	}
	s.e.note(state)
	version, _ := wire.Negotiate(s.hello.Min, s.hello.Max)
	return state, s.send(&wire.Welcome{
		Version: version, Node: s.r.cfg.Node, Size: state.Size, Epoch: state.Epoch, Last: state.Last,
		Durable: state.Durable, Applied: state.Applied, Complete: state.Complete, Lineage: state.Lineage,
	})
}

// step takes one message, and syncs when one that came asked for it and no whole one
// waits behind it.
func (s *session) step(ctx context.Context) error {
	if err := s.extend(ctx); err != nil {
		return err
	}
	m, err := s.in.Next()
	if err != nil {
		return err
	}
	if _, ping := m.(*wire.Ping); !ping {
		s.touch()
	}
	if err := s.handle(ctx, m); err != nil {
		return err
	}
	if s.flush && !s.in.Ready() {
		return s.sync(ctx)
	}
	if s.unacked >= ackEvery {
		return s.ack()
	}
	return nil
}

// extend moves the read deadline (S3 of package stream, on this side).
func (s *session) extend(ctx context.Context) error {
	now := s.r.now()
	if now-s.heard >= pulseBusy || s.heard == 0 {
		s.heard = now
		if err := s.conn.SetReadDeadline(time.Now().Add(s.silent)); err != nil {
			return err
		}
	}
	return ctx.Err() // it may have ended before the deadline was set
}

func (s *session) touch() { s.busy.Store(int64(s.r.now())) }

// send writes messages in one piece.
func (s *session) send(ms ...wire.Message) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.out = s.out[:0]
	for _, m := range ms {
		s.out = wire.Encode(s.out, m)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	_, err := s.conn.Write(s.out)
	if cap(s.out) > ballast.BlockSize {
		s.out = nil
	}
	return err
}

// isLost reports whether the leader has gone, or is no more to be heard of.
func isLost(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// refuse tells the leader why the stream ends, where that helps it.
func (s *session) refuse(err error) {
	if isLost(err) {
		return
	}
	m := &wire.Refuse{Code: code(err), Text: err.Error()}
	if m.Code == wire.CodeEpoch && s.e != nil {
		m.Epoch = s.e.highest()
	}
	if s.send(m) != nil {
		return
	}
	// Closing with bytes unread would reset the connection, and may take away what was
	// just said.
	if s.conn.SetReadDeadline(time.Now().Add(time.Second)) == nil {
		_, _ = io.CopyN(io.Discard, s.conn, 64<<20) // as long as it lasts
	}
}

// highest is the epoch that lower ones are refused for.
func (e *entry) highest() ballast.Epoch {
	e.r.mu.Lock()
	defer e.r.mu.Unlock()
	return max(e.fence, e.taken, e.state.Epoch)
}

// code says to a program what an error means.
func code(err error) wire.Code {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.code
	}
	switch {
	case errors.Is(err, volume.ErrStaleEpoch):
		return wire.CodeEpoch
	case errors.Is(err, ballast.ErrInUse), errors.Is(err, ballast.ErrNotReady), errors.Is(err, errClosed), errors.Is(err, context.Canceled):
		return wire.CodeBusy
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return wire.CodeNoRoom
	case errors.Is(err, ballast.ErrInvalid):
		return wire.CodeNotAllowed
	}
	return wire.CodeFailed
}

// pulse says from time to time that this side is there.
type pulse struct {
	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// startPulse begins to send pings. It holds no goroutine between two.
func (s *session) startPulse() *pulse {
	p := &pulse{}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(pulseBusy, func() { s.beat(p) })
	return p
}

// beat sends a ping. Its failure is noticed by whoever reads.
func (s *session) beat(p *pulse) {
	next := pulseBusy
	if s.r.now()-time.Duration(s.busy.Load()) > busyFor {
		next = pulseIdle
	}
	if s.send(&wire.Ping{NextMillis: uint32(next.Milliseconds())}) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.timer.Reset(next)
	}
}

func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}
