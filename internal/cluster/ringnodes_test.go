package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/vfs"
)

// ring is several nodes on loopback, each with its port, its certificate and its folder,
// between which connections can be cut.
type ring struct {
	t         *testing.T
	authority *identity.Authority
	lease     time.Duration
	most      int
	nodes     map[ballast.NodeID]*ringNode

	mu    sync.Mutex // guards everything below
	cut   map[[2]ballast.NodeID]bool
	muted map[[2]ballast.NodeID]bool                  // from, to: what is sent does not arrive
	conns map[[2]ballast.NodeID]map[net.Conn]struct{} // from, to
}

// ringNode is one of them.
type ringNode struct {
	ring    *ring
	name    ballast.NodeID
	dir     string
	address string
	joined  bool
	seeds   []string
	force   bool

	*Records
	stop func()

	mu       sync.Mutex // guards everything below
	sessions []uint64   // that it was told of
	until    time.Duration
}

func newRing(t *testing.T, names ...ballast.NodeID) *ring {
	t.Helper()
	a, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{
		t: t, authority: a, lease: 3 * time.Second, nodes: map[ballast.NodeID]*ringNode{},
		cut: map[[2]ballast.NodeID]bool{}, muted: map[[2]ballast.NodeID]bool{}, conns: map[[2]ballast.NodeID]map[net.Conn]struct{}{},
	}
	for i, name := range names {
		n := r.add(name)
		n.joined = i > 0
		if i > 0 {
			n.seeds = []string{r.nodes[names[0]].address}
		}
	}
	return r
}

// add makes a node, which is not started yet.
func (r *ring) add(name ballast.NodeID) *ringNode {
	r.t.Helper()
	l, err := new(net.ListenConfig).Listen(r.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	n := &ringNode{ring: r, name: name, dir: r.t.TempDir(), address: l.Addr().String()}
	if err := l.Close(); err != nil { // the port is free again for each start of the node
		r.t.Fatal(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := key.Request()
	if err != nil {
		r.t.Fatal(err)
	}
	cert, err := r.authority.Sign(request, name, 1, []string{"127.0.0.1"}, time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	keyText, err := key.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	for file, text := range map[string][]byte{"ca.pem": r.authority.Certificate(), "node.pem": cert, "node.key": keyText} {
		if err := os.WriteFile(filepath.Join(n.dir, file), text, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	r.nodes[name] = n
	return n
}

func (n *ringNode) peering() *Peering {
	in := func(file string) string { return filepath.Join(n.dir, file) }
	return &Peering{Address: n.address, Seeds: n.seeds, CertFile: in("node.pem"), KeyFile: in("node.key"), CAFile: in("ca.pem"), Joined: n.joined}
}

// start runs the node until stop is called, or the test ends.
func (n *ringNode) start() *ringNode {
	t := n.ring.t
	t.Helper()
	disk, err := vfs.OS(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("at", n.name)
	n.Records = Open(Config{
		Dir: filepath.Join(n.dir, "records"), View: disk, Node: n.name, Log: log,
		Lease: n.ring.lease, Peering: n.peering(), Most: n.ring.most, ForceNew: n.force, GiveUp: 10 * time.Second,
	})
	n.force = false
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	stopServing := n.listen()
	running.Go(func() {
		if err := n.Run(ctx); err != nil {
			log.Warn("the records ended", "error", err)
		}
	})
	running.Go(func() {
		_ = n.KeepSession(ctx, SessionConfig{Lease: n.ring.lease, Boot: n.boot, OnRenewed: n.renewed}) // ends with ctx
	})
	var once sync.Once
	n.stop = func() {
		once.Do(func() {
			cancel()
			running.Wait()
			stopServing()
			_ = disk.Close() // of a folder that was only read and replaced
		})
	}
	t.Cleanup(n.stop)
	return n
}

func (n *ringNode) boot() time.Duration { return time.Since(ringStart) + time.Hour }

var ringStart = time.Now()

func (n *ringNode) renewed(session uint64, until time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.until = until
	if len(n.sessions) == 0 || n.sessions[len(n.sessions)-1] != session {
		n.sessions = append(n.sessions, session)
	}
}

func (n *ringNode) sessionsSoFar() []uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sessions)
}

// listen serves the node's port to whoever has a certificate and is not cut off.
func (n *ringNode) listen() (stop func()) {
	t := n.ring.t
	pair, err := tls.LoadX509KeyPair(filepath.Join(n.dir, "node.pem"), filepath.Join(n.dir, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(n.ring.authority.Certificate())
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			from := ballast.NodeID(filepath.Base(req.TLS.PeerCertificates[0].URIs[0].Path))
			if !n.ring.pass(from, n.name, req.Context().Value(connKey{}).(net.Conn)) {
				panic(http.ErrAbortHandler)
			}
			n.Handler().ServeHTTP(w, req)
		}),
		ReadHeaderTimeout: time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}},
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ServeTLS(mutableListener{l, n.ring, n.name}, "", "") // ends when it is closed
	}()
	return func() {
		_ = server.Close() // what is open ends with it
		<-done
	}
}

type connKey struct{}

// pass reports whether something may pass from one node to another, and remembers over
// which connection it came, so that it can be cut.
func (r *ring) pass(from, to ballast.NodeID, conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	way := [2]ballast.NodeID{from, to}
	if r.cut[way] {
		return false
	}
	if r.conns[way] == nil {
		r.conns[way] = map[net.Conn]struct{}{}
	}
	r.conns[way][conn] = struct{}{}
	if tc, ok := conn.(*tls.Conn); ok {
		if m, ok := tc.NetConn().(*mutableConn); ok {
			m.from = from
		}
	}
	return true
}

// isolate cuts a node off from all others, both ways, and heal ends all cuts.
func (r *ring) isolate(name ballast.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other := range r.nodes {
		if other == name {
			continue
		}
		for _, way := range [][2]ballast.NodeID{{name, other}, {other, name}} {
			r.cut[way] = true
			for conn := range r.conns[way] {
				r.close(conn) // that is what a cut is
			}
			delete(r.conns, way)
		}
	}
}

// close ends a connection without a word: TLS would say one, and who is muted asks the ring.
func (r *ring) close(conn net.Conn) {
	if tc, ok := conn.(*tls.Conn); ok {
		conn = tc.NetConn()
	}
	_ = conn.Close() // whatever comes of it
}

func (r *ring) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.cut)
	clear(r.muted)
	for way, conns := range r.conns { // what was lost of them is not sent again
		for conn := range conns {
			r.close(conn)
		}
		delete(r.conns, way)
	}
}

// startAll starts the nodes one by one and enters each.
func (r *ring) startAll(names ...ballast.NodeID) {
	r.t.Helper()
	for _, name := range names {
		n := r.nodes[name].start()
		if _, err := r.nodes[names[0]].PutNode(r.t.Context(), Node{Name: name, Address: n.address}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		wait, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		<-wait.Done()
		cancel()
	}
}

// voters waits until a node knows that so many have a vote, and nobody is a learner.
func (n *ringNode) awaitVoters(want int) {
	n.ring.t.Helper()
	eventually(n.ring.t, fmt.Sprintf("%s waits for %d members", n.name, want), func() error {
		members := n.Members()
		for _, m := range members {
			if m.Learner || !m.Started {
				return fmt.Errorf("members %+v", members)
			}
		}
		if ready, err := n.Ready(); !ready || len(members) != want {
			return errors.Join(fmt.Errorf("ready %t, members %+v", ready, members), err)
		}
		return nil
	})
}
