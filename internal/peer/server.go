package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/quiet"
)

// Config says what a [Server] serves, and to whom.
type Config struct {
	Own   *identity.Credentials
	Nodes Nodes

	// HTTP answers nodes of the cluster; [From] tells which one asks.
	HTTP http.Handler
	// Join answers POST /join of machines that have no certificate; nil: nobody can join.
	Join http.Handler
	// Streams are what other protocols are for. A connection is closed when its function
	// returns, and at the end of Serve; ctx ends then.
	Streams map[string]func(ctx context.Context, conn net.Conn, node identity.Node)

	// FormerOwn is who this node was in a cluster that it is not of any more, and Former what it says
	// to the nodes of that one; nil: there was none.
	FormerOwn *identity.Credentials
	Former    Former

	Log *slog.Logger
}

// formerly returns how this node answers as who it was, nil when it was nobody.
func (c Config) formerly() *formerly {
	if c.FormerOwn == nil {
		return nil
	}
	return &formerly{c.FormerOwn, c.Former}
}

// What strangers can make a node hold (P6).
const (
	handshakePatience = 5 * time.Second
	maxHandshakes     = 128  // at once
	maxStrangers      = 32   // connections at once without a certificate
	maxConns          = 8192 // at once
)

// Server answers on a node's one port.
type Server struct {
	cfg        Config
	nodes      *http.Server
	strangers  *http.Server
	underway   *requests
	joins      *requests
	handshakes chan struct{} // a place per handshake
	refusals   *quiet.Log

	mu    sync.Mutex // guards everything below
	conns map[*tls.Conn]*guest
}

// guest is a connection whose handshake is done.
type guest struct {
	node   identity.Node // zero: a stranger
	cancel context.CancelFunc
}

// NewServer returns a server; Serve runs it.
func NewServer(cfg Config) *Server {
	s := &Server{
		cfg: cfg, handshakes: make(chan struct{}, maxHandshakes), refusals: quiet.NewLog(cfg.Log), conns: map[*tls.Conn]*guest{},
		underway: newRequests(), joins: newRequests(),
	}
	s.nodes = s.httpServer(s.underway.count(s.serveNode))
	s.strangers = s.httpServer(s.joins.count(s.serveStranger))
	s.strangers.ReadTimeout, s.strangers.WriteTimeout, s.strangers.MaxHeaderBytes = 10*time.Second, time.Minute, 8<<10
	s.strangers.SetKeepAlivesEnabled(false)
	return s
}

func (s *Server) httpServer(handler http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * maxIdle,
		MaxHeaderBytes:    64 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 1024, SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		ConnContext:       s.connContext,
		ConnState:         s.connState,
	}
}

// connContext tells the requests of a connection whom it is with.
func (s *Server) connContext(ctx context.Context, conn net.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tc, ok := conn.(*tls.Conn); ok && s.conns[tc] != nil {
		return With(ctx, s.conns[tc].node)
	}
	return ctx
}

// connState forgets connections that ended.
func (s *Server) connState(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	if tc, ok := conn.(*tls.Conn); ok {
		s.forget(tc)
	}
}

// Serve answers on l until ctx ends, and closes it. Who is just joining hears what came of it,
// for it is not done twice; all else is cut off. A server serves once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	serving, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	nodes, strangers := newHandover(l.Addr()), newHandover(l.Addr())
	running.Go(func() { _ = s.nodes.Serve(nodes) })         // ends with ErrServerClosed
	running.Go(func() { _ = s.strangers.Serve(strangers) }) // likewise
	running.Go(func() { s.look(serving) })
	stop := context.AfterFunc(serving, func() { _ = l.Close() }) // which ends accepting
	defer stop()
	err := s.accept(serving, l, &running, nodes, strangers)
	cancel()
	s.joins.end(joinGrace)
	s.letAnswersOut(context.WithoutCancel(ctx))
	s.closeAll()
	if !s.underway.end(endGrace) || !s.joins.end(endGrace) {
		s.cfg.Log.Error("a request of another node does not end although its connection is closed; it is left to the end of the process")
	}
	running.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve other nodes: %w", errors.Join(err, l.Close()))
}

// answerGrace is how long an answer to who joined may take to be written.
const answerGrace = 250 * time.Millisecond

// letAnswersOut waits for what is written after a join has been decided: who does not hear
// that they were taken in cannot join again under their name.
func (s *Server) letAnswersOut(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerGrace)
	defer cancel()
	_ = s.strangers.Shutdown(ctx) // strangers who say nothing are not waited for
}

// acceptPause keeps a process without descriptors from accepting in a frenzy.
const acceptPause = 50 * time.Millisecond

func (s *Server) accept(ctx context.Context, l net.Listener, running *sync.WaitGroup, nodes, strangers *handover) error {
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				_ = conn.Close() // nothing was read or written
			}
			return err
		case err != nil:
			s.refusals.Warn("accept", "connections cannot be accepted", "error", err)
			wait(ctx, acceptPause)
			continue
		}
		select {
		case s.handshakes <- struct{}{}:
			running.Go(func() { s.receive(ctx, conn, nodes, strangers) })
		default: // the first ones end within their patience
			s.refusals.Warn("full", "too many handshakes at once; a connection was closed", "from", conn.RemoteAddr().String())
			_ = conn.Close() // nothing was read or written
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// receive shakes hands, and brings the connection to whom it is for.
func (s *Server) receive(ctx context.Context, raw net.Conn, nodes, strangers *handover) {
	conn := tls.Server(raw, s.config())
	err := s.shakeHands(ctx, conn)
	<-s.handshakes
	if err == nil && conn.ConnectionState().NegotiatedProtocol == ProtocolFormer {
		_ = s.cfg.formerly().answer(conn) // who asked asks again
		return
	}
	var g *guest
	if err == nil {
		g, ctx, err = s.admit(ctx, conn)
	}
	if err != nil {
		s.refusals.Warn("handshake "+hostOf(raw), "a connection was refused", "from", raw.RemoteAddr().String(), "error", err)
		_ = conn.Close() // it was not let in
		return
	}
	switch protocol := conn.ConnectionState().NegotiatedProtocol; {
	case g.node == (identity.Node{}):
		strangers.give(ctx, conn)
	case s.cfg.Streams[protocol] != nil:
		defer s.forget(conn)
		s.cfg.Streams[protocol](ctx, conn, g.node)
	default:
		nodes.give(ctx, conn)
	}
}

func (s *Server) shakeHands(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, handshakePatience)
	defer cancel()
	return conn.HandshakeContext(ctx)
}

// config asks everybody for a certificate, and lets strangers speak of joining only (P1).
func (s *Server) config() *tls.Config {
	protocols := []string{ProtocolHTTP2, ProtocolHTTP1}
	for name := range s.cfg.Streams {
		protocols = append(protocols, name)
	}
	return &tls.Config{
		GetConfigForClient:     func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return s.cfg.formerly().config(hello), nil },
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protocols,
		ClientAuth:             tls.RequestClientCert, // verified below, against our authority alone
		SessionTicketsDisabled: true,                  // each handshake verifies anew (P3)
		// Small records at the beginning, and after a pause, are for browsers; here they cost the
		// first flush after one a packet for each 1.4 KB.
		DynamicRecordSizingDisabled: true,
		GetCertificate:              func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cfg.Own.Certificate(), nil },
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := s.whoIs(state)
			return err
		},
	}
}

// whoIs returns whom a connection is with; a stranger that may ask to join is nobody.
func (s *Server) whoIs(state tls.ConnectionState) (identity.Node, error) {
	if len(state.PeerCertificates) == 0 {
		if s.cfg.Join == nil || state.NegotiatedProtocol != ProtocolHTTP1 {
			return identity.Node{}, errors.New("it shows no certificate")
		}
		return identity.Node{}, nil
	}
	who, err := s.cfg.Own.Verify(state.PeerCertificates)
	if err != nil {
		return identity.Node{}, err
	}
	return who, s.cfg.Nodes.allow(who)
}

// admit notes a connection as one that is open. Who it is was verified in the handshake.
func (s *Server) admit(ctx context.Context, conn *tls.Conn) (*guest, context.Context, error) {
	who, err := s.whoIs(conn.ConnectionState())
	if err != nil {
		return nil, ctx, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= maxConns {
		return nil, ctx, fmt.Errorf("there are %d connections already", len(s.conns))
	}
	if who == (identity.Node{}) && s.strangersLocked() >= maxStrangers {
		return nil, ctx, fmt.Errorf("%d machines ask to join at once already", maxStrangers)
	}
	if ctx.Err() != nil {
		return nil, ctx, ctx.Err() // closeAll has been
	}
	ctx, cancel := context.WithCancel(ctx)
	g := &guest{node: who, cancel: cancel}
	s.conns[conn] = g
	return g, ctx, nil
}

func (s *Server) strangersLocked() (count int) {
	for _, g := range s.conns {
		if g.node == (identity.Node{}) {
			count++
		}
	}
	return count
}

// forget closes a connection.
func (s *Server) forget(conn *tls.Conn) {
	s.mu.Lock()
	g := s.conns[conn]
	delete(s.conns, conn)
	s.mu.Unlock()
	if g != nil {
		g.cancel()
	}
	_ = conn.Close() // it is done with, or refused
}

// lookEvery is how long an open stream of a removed node goes on at most.
const lookEvery = time.Second

// look closes what nodes have open that are no longer of the cluster (P3).
func (s *Server) look(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, lookEvery)
		for conn, err := range s.refused() {
			s.refusals.Warn("removed", "a connection of a node that is no longer in the cluster was closed", "error", err)
			s.forget(conn)
		}
	}
}

func (s *Server) refused() map[*tls.Conn]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := map[*tls.Conn]error{}
	for conn, g := range s.conns {
		if g.node == (identity.Node{}) {
			continue
		}
		if err := s.cfg.Nodes.allow(g.node); err != nil {
			refused[conn] = err
		}
	}
	return refused
}

// closeAll ends every connection.
func (s *Server) closeAll() {
	_ = s.nodes.Close()     // closes what it serves
	_ = s.strangers.Close() // likewise
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, conn := range open {
		s.forget(conn)
	}
}

// hostOf returns whom a connection comes from, without the port.
func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}
