package peer

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/ballast-io/ballast/internal/identity"
)

// serveUntil runs a server until the returned function is called, which returns when Serve has.
func serveUntil(t *testing.T, cfg Config) (address string, end func() <-chan error) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(context.Background())
	ended, done := make(chan error, 1), make(chan struct{})
	go func() { ended <- NewServer(cfg).Serve(ctx, l); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String(), func() <-chan error { cancel(); return ended }
}

// When Serve has returned no request of a node is under way any more, whichever version of
// HTTP it came by.
func TestServeWaitsForRequests(t *testing.T) {
	for _, protocol := range []string{ProtocolHTTP1, ProtocolHTTP2} {
		c := newTestCluster(t)
		own, _ := c.enter("n1")
		other, _ := c.enter("n2")
		began, mayEnd := make(chan struct{}), make(chan struct{})
		var over atomic.Bool
		address, end := serveUntil(t, Config{Own: own, Nodes: c.known, HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			<-mayEnd
			over.Store(true)
		})})
		client := NewDialer(other, c.known).HTTP("n1", always(address))
		if protocol == ProtocolHTTP1 {
			client.Transport = &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return NewDialer(other, c.known).Dial(ctx, "n1", address, ProtocolHTTP1)
			}}
		}
		failed := make(chan error, 1)
		go func() { _, err := get(t.Context(), client, "/slow"); failed <- err }()
		select {
		case <-began:
		case err := <-failed:
			t.Fatalf("%s: %v", protocol, err)
		}
		ended := end()
		if err := <-failed; err == nil {
			t.Errorf("%s: a request that was cut off is answered", protocol)
		}
		select {
		case <-ended: // whatever came of it, it is too early
			t.Errorf("%s: Serve has returned, and the request has not", protocol)
		default:
		}
		close(mayEnd)
		if err := <-ended; err != nil || !over.Load() {
			t.Errorf("%s: Serve = %v, the request is over: %t", protocol, err, over.Load())
		}
		client.CloseIdleConnections()
	}
}

// Who is just joining when the agent ends hears what came of it; who comes then does not begin.
func TestServeLetsJoinsEnd(t *testing.T) {
	c := newTestCluster(t)
	own, _ := c.enter("n1")
	began, mayEnd := make(chan struct{}), make(chan struct{})
	address, end := serveUntil(t, Config{Own: own, Nodes: c.known, Join: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-mayEnd
		_, _ = io.WriteString(w, "welcome") // the client looks
	})})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ProtocolHTTP1}}}}
	defer client.CloseIdleConnections()
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		response, err := client.Post("https://"+address+JoinPath, "text/plain", nil)
		if err != nil {
			answered <- answer{err: err}
			return
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		answered <- answer{string(text), err}
	}()
	<-began
	ended := end()
	close(mayEnd)
	if got := <-answered; got.err != nil || got.text != "welcome" {
		t.Errorf("the answer to a join under way = %q, %v", got.text, got.err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Records of full size from the start: a batch of a flush is not cut into packets.
func TestRecordsAreFull(t *testing.T) {
	c := newTestCluster(t)
	own, _ := c.enter("n1")
	for name, config := range map[string]*tls.Config{
		"server": NewServer(Config{Own: own, Nodes: c.known, Log: slog.New(slog.DiscardHandler), Streams: map[string]func(context.Context, net.Conn, identity.Node){}}).config(),
		"dialer": NewDialer(own, c.known).config("n2", nil),
	} {
		if !config.DynamicRecordSizingDisabled {
			t.Errorf("the %s begins with small records", name)
		}
	}
}
