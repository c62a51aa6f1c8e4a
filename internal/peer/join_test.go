package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
)

func apply(c *testCluster, token identity.Token, address, node string) (identity.Folder, error) {
	return Join(c.t.Context(), Application{Token: token, Ask: address, Node: ballast.NodeID(node), Listen: ":7420", Release: "1.0"})
}

// Who joins can speak as the node it became, and as nobody else.
func TestJoin(t *testing.T) {
	c := newTestCluster(t)
	n1, _ := c.enter("n1")
	address := c.serve(n1)
	folder, err := apply(c, c.token(), address, "n2")
	if err != nil {
		t.Fatal(err)
	}
	if got := folder.Cluster; got.Address != "127.0.0.1:7420" || got.Generation != 1 || got.ID != c.authority.Cluster() || len(got.Peers) != 1 {
		t.Errorf("cluster = %+v", got)
	}
	n2, _ := c.open(folder)
	conn, err := NewDialer(n2, c.known).Dial(t.Context(), "n1", address, ProtocolReplica)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := readHello(conn); err != nil || got != "hello n2" {
		t.Errorf("stream = %q, %v", got, err)
	}
}

func TestJoinIsRefused(t *testing.T) {
	c, other := newTestCluster(t), newTestCluster(t)
	n1, _ := c.enter("n1")
	good, spent := c.token(), c.token()
	address := c.serve(n1)
	if _, err := apply(c, spent, address, "n0"); err != nil {
		t.Fatal(err)
	}
	wrong := good
	wrong.Secret = spent.Secret
	forged := good
	forged.Authority = other.authority.Digest()
	before := c.state()
	for _, tt := range []struct {
		name  string
		token identity.Token
		node  string
		says  string
		is    error
	}{
		{"a token that was used", spent, "n3", "the token is not known", ballast.ErrInvalid},
		{"a token whose time is over", identity.NewToken(c.authority.Digest()), "n3", "the token is not known", ballast.ErrInvalid},
		{"a token with another's secret", wrong, "n3", "the token is not known", ballast.ErrInvalid},
		{"a token of another cluster", other.token(), "n3", "not a node of the cluster", ballast.ErrInvalid},
		{"a token with another cluster's digest", forged, "n3", "not a node of the cluster", ballast.ErrInvalid},
		{"a name that is taken", good, "n1", "already", ballast.ErrExists},
		{"a name that is none", good, "../n1", "node name", ballast.ErrInvalid},
		{"a name that is too long", good, strings.Repeat("n", 65), "node name", ballast.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := apply(c, tt.token, address, tt.node)
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Join = %v; want %v that says %q", err, tt.is, tt.says)
			}
		})
	}
	if after := c.state(); after != before {
		t.Errorf("what was refused made %s of %s (P5)", after, before)
	}
	if _, err := apply(c, good, address, "n3"); err != nil {
		t.Errorf("the token that was not spent: %v", err)
	}
}

// ask brings a request to the handler, as a machine of this address.
func ask(h *joinHandler, from string, body []byte) (int, joinRefusal) {
	r := httptest.NewRequest("POST", JoinPath, bytes.NewReader(body))
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var refusal joinRefusal
	if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil {
		refusal.Text = err.Error()
	}
	return w.Code, refusal
}

func testRequest(t testing.TB, token identity.Token, node string) joinRequest {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	signing, err := key.Request()
	if err != nil {
		t.Fatal(err)
	}
	return joinRequest{Version: joinVersion, Release: "1.0", Token: token.ID, Secret: token.Secret.Reveal(), Node: node, Address: "10.0.0.2:7420", Request: signing, Time: time.Now()}
}

// What the server is told is believed as little as who tells it.
func TestServerRefuses(t *testing.T) {
	c := newTestCluster(t)
	c.enter("n1")
	token := c.token()
	before := c.state()
	for i, tt := range []struct {
		name   string
		change func(r *joinRequest)
		code   string
		status int
	}{
		{"a clock an hour ahead", func(r *joinRequest) { r.Time = r.Time.Add(time.Hour) }, refusedClock, 400},
		{"a clock an hour behind", func(r *joinRequest) { r.Time = r.Time.Add(-time.Hour) }, refusedClock, 400},
		{"no clock", func(r *joinRequest) { r.Time = time.Time{} }, refusedClock, 400},
		{"an older release", func(r *joinRequest) { r.Version = oldestJoin - 1 }, refusedVersion, 400},
		{"a newer release", func(r *joinRequest) { r.Version = joinVersion + 1 }, refusedVersion, 400},
		{"another's signing request", func(r *joinRequest) { r.Request[len(r.Request)-1] ^= 1 }, refusedRequest, 400},
		{"no signing request", func(r *joinRequest) { r.Request = nil }, refusedRequest, 400},
		{"an address that is everywhere", func(r *joinRequest) { r.Address = "0.0.0.0:7420" }, refusedRequest, 400},
		{"an address without a port", func(r *joinRequest) { r.Address = "10.0.0.2" }, refusedRequest, 400},
		{"an address with a wildcard", func(r *joinRequest) { r.Address = "*.example:7420" }, refusedRequest, 400},
		{"a name with a path", func(r *joinRequest) { r.Node = "n2/../n1" }, refusedRequest, 400},
		{"the name of a node", func(r *joinRequest) { r.Node = "n1" }, refusedName, 409},
		{"no secret", func(r *joinRequest) { r.Secret = "" }, refusedToken, 403},
		{"another secret", func(r *joinRequest) { r.Secret = c.token().Secret.Reveal() }, refusedToken, 403},
		{"no token", func(r *joinRequest) { r.Token = "" }, refusedToken, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := JoinHandler(c, slog.New(slog.DiscardHandler)).(*joinHandler)
			r := testRequest(t, token, "n2")
			tt.change(&r)
			if tt.name == "another secret" {
				before = c.state() // with one token more
			}
			body, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			status, refusal := ask(h, fmt.Sprintf("10.0.0.%d:1", i), body)
			if status != tt.status || refusal.Code != tt.code || refusal.Text == "" {
				t.Errorf("answer = %d %+v; want %d %s", status, refusal, tt.status, tt.code)
			}
			if after := c.state(); after != before {
				t.Errorf("it made %s of %s (P5)", after, before)
			}
		})
	}
}

// A cluster that cannot take anybody in says so, and tells strangers nothing of why.
func TestServerThatCannot(t *testing.T) {
	c := newTestCluster(t)
	token := c.token()
	c.err = errors.New("etcd has no quorum of 10.0.0.7")
	body, err := json.Marshal(testRequest(t, token, "n2"))
	if err != nil {
		t.Fatal(err)
	}
	h := JoinHandler(c, slog.New(slog.DiscardHandler)).(*joinHandler)
	for range 3 * maxFailures { // none of which is the machine's fault
		status, refusal := ask(h, "10.0.0.2:1", body)
		if status != 503 || refusal.Code != refusedLater || strings.Contains(refusal.Text, "10.0.0.7") {
			t.Fatalf("answer = %d %+v", status, refusal)
		}
	}
	c.err = nil
	if status, refusal := ask(h, "10.0.0.2:1", body); status != 200 {
		t.Errorf("answer afterwards = %d %+v", status, refusal)
	}
}

// Of a hundred machines with one token one gets in.
func TestDoubleSpend(t *testing.T) {
	c := newTestCluster(t)
	n1, _ := c.enter("n1")
	address := c.serve(n1)
	token := c.token()
	var group sync.WaitGroup
	results := make(chan error, 100)
	for i := range cap(results) {
		group.Go(func() {
			_, err := apply(c, token, address, fmt.Sprintf("x%d", i))
			results <- err
		})
	}
	group.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if won != 1 || len(c.nodes) != 2 {
		t.Errorf("%d machines got in, and the nodes are %v; want 1", won, c.nodes)
	}
}

// A machine in the middle that shows a certificate of its own hears no secret; neither does
// one that passes on what it hears (P4).
func TestManInTheMiddle(t *testing.T) {
	c, evil := newTestCluster(t), newTestCluster(t)
	n1, _ := c.enter("n1")
	theirs, _ := evil.enter("n1")
	address := c.serve(n1)
	for _, tt := range []struct {
		name string
		cert func() tls.Certificate
	}{
		{"of another cluster", func() tls.Certificate { return *theirs.Certificate() }},
		{"that adds the real authority's certificate", func() tls.Certificate {
			cert := *theirs.Certificate()
			cert.Certificate = [][]byte{cert.Certificate[0], n1.Certificate().Certificate[1]}
			return cert
		}},
		{"that adds all of the real chain", func() tls.Certificate {
			cert := *theirs.Certificate()
			cert.Certificate = append([][]byte{cert.Certificate[0]}, n1.Certificate().Certificate...)
			return cert
		}},
		{"that shows the real chain without its key", func() tls.Certificate {
			cert := *n1.Certificate()
			cert.PrivateKey = theirs.Certificate().PrivateKey
			return cert
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heard, at := listenAsMiddle(t, tt.cert(), address)
			token := c.token()
			if _, err := apply(c, token, at, "n2"); err == nil {
				t.Error("it joined through it")
			}
			if got := heard(); strings.Contains(got, token.Secret.Reveal()) || strings.Contains(got, token.ID) {
				t.Errorf("the machine in the middle heard the token")
			}
		})
	}
	if len(c.takeServed()) > 0 {
		t.Error("a join reached the cluster")
	}
}

// listenAsMiddle is a proxy that ends TLS, passes everything on to address, and remembers.
func listenAsMiddle(t *testing.T, cert tls.Certificate, address string) (heard func() string, at string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{ProtocolHTTP1}})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtocolHTTP1}})
			if err != nil {
				in.Close()
				continue
			}
			p := make([]byte, 64<<10)
			n, _ := in.Read(p)
			mu.Lock()
			all.Write(p[:n])
			mu.Unlock()
			if n > 0 {
				_, _ = out.Write(p[:n]) // or the client complains
				_, _ = io.Copy(in, out) // likewise
			}
			in.Close()
			out.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return func() string { mu.Lock(); defer mu.Unlock(); return all.String() }, l.Addr().String()
}

// The secret is in no log and no error (G9).
func TestSecretIsNotLogged(t *testing.T) {
	c := newTestCluster(t)
	n1, _ := c.enter("n1")
	var mu sync.Mutex
	var out bytes.Buffer
	address := c.serveWith(n1, slog.New(slog.NewJSONHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(p)
	}), &slog.HandlerOptions{Level: slog.LevelDebug})))
	token, unknown := c.token(), identity.NewToken(c.authority.Digest())
	_, refused := apply(c, unknown, address, "n2")
	_, taken := apply(c, token, address, "n1")
	folder, err := apply(c, token, address, "n2")
	if refused == nil || taken == nil || err != nil {
		t.Fatal(refused, taken, err)
	}
	mu.Lock()
	defer mu.Unlock()
	all := fmt.Sprint(out.String(), refused, taken, folder)
	for _, secret := range []string{token.Secret.Reveal(), unknown.Secret.Reveal()} {
		if strings.Contains(all, secret) {
			t.Error("a secret was logged")
		}
	}
	if !strings.Contains(out.String(), unknown.ID) || !strings.Contains(out.String(), "a machine was refused to join") {
		t.Errorf("the failed join was not logged:\n%s", out.String())
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// A machine that fails too often is not listened to for a while, and others are.
func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		var lines int
		h := JoinHandler(c, slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) { lines++; return len(p), nil }), nil))).(*joinHandler)
		guess := func(from string) int {
			body, err := json.Marshal(testRequest(t, identity.NewToken(c.authority.Digest()), "n2"))
			if err != nil {
				t.Fatal(err)
			}
			status, _ := ask(h, from, body)
			return status
		}
		heard := 0
		for range 1000 {
			if guess("10.0.0.2:1") == 403 {
				heard++
			}
		}
		if heard != maxFailures || lines != 1 {
			t.Errorf("of 1000 guesses %d were heard and %d lines logged; want %d and 1", heard, lines, maxFailures)
		}
		if status := guess("10.0.0.3:1"); status != 403 {
			t.Errorf("another machine = %d; want 403", status)
		}
		// One network of version 6 is one machine.
		for i := range maxFailures {
			guess(fmt.Sprintf("[2001:db8::%d]:1", i+1))
		}
		if status := guess("[2001:db8::ffff]:1"); status != 429 {
			t.Errorf("a neighbour = %d; want 429", status)
		}
		time.Sleep(forgiveEvery) // in the bubble
		if first, second := guess("10.0.0.2:1"), guess("10.0.0.2:1"); first != 403 || second != 429 {
			t.Errorf("after a while = %d, %d; want 403, 429", first, second)
		}
	})
}

// What is remembered of strangers is bounded (P6).
func TestMemoryOfStrangersIsBounded(t *testing.T) {
	now := time.Now()
	l := newLimit()
	for i := range 3 * maxMachines {
		l.count(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
	}
	if len(l.seen) > maxMachines {
		t.Errorf("%d machines are remembered; want at most %d", len(l.seen), maxMachines)
	}
}

// Machines that connect and say nothing keep nobody out for long, and are thrown out.
func TestSilentStrangers(t *testing.T) {
	c := newTestCluster(t)
	n1, _ := c.enter("n1")
	address := c.serve(n1)
	var silent []net.Conn
	defer func() {
		for _, conn := range silent {
			conn.Close()
		}
	}()
	for range maxHandshakes + 16 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	// The first ones are thrown out after their patience; all of them, and then
	// there is room.
	for _, conn := range silent {
		if err := conn.SetReadDeadline(time.Now().Add(4 * handshakePatience)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a silent stranger = %d bytes, %v", n, err)
		}
	}
	if _, err := apply(c, c.token(), address, "n2"); err != nil {
		t.Errorf("join afterwards: %v", err)
	}
}

func FuzzJoinRequest(f *testing.F) {
	token := identity.NewToken(identity.Digest{})
	good, err := json.Marshal(testRequest(f, token, "n2"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"time":"2026-11-21T10:00:00Z","request":"AAAA"}`))
	f.Add([]byte(`{"version":1}{"version":2}`))
	f.Add([]byte(`{"version":1,"node":{"a":[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeJoinRequest(data)
		if err == nil {
			if CheckNodeName(ballast.NodeID(r.Node)) != nil || CheckAddress(r.Address) != nil || !identity.IsTokenID(r.Token) {
				t.Errorf("%q was accepted", data)
			}
			return
		}
		if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Text == "" || len(refusal.Text) > 1000 {
			t.Errorf("%q is refused with %v", data, err)
		}
	})
}
