package s3test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Rule is what a [Proxy] does with a request. The zero value: it passes it on.
type Rule struct {
	Status int    // answer this, with Code as the S3 error, without asking the server
	Code   string // as "SlowDown"
	After  bool   // answer Status although the server has carried the request out
	Hang   bool   // take the request and never answer
	Lose   bool   // answer 200 without asking the server
	Cut    int64  // end the connection after so many bytes of the answer's body; 0 does not
	Short  int64  // send so many bytes of the answer's body as if they were all; 0 does not
	// Delay is how long the answer takes longer.
	Delay time.Duration
	// Date is by how much the answer's Date is wrong, while the store's clock is right.
	Date time.Duration
	// Clock is by how much the store's clock is wrong: it refuses requests that were
	// signed at another time than it has, as a real one does.
	Clock time.Duration
	// Unconditional makes a store that does not know If-None-Match, and carries out the
	// request whatever it says.
	Unconditional bool
}

// Always follows one rule.
func Always(rule Rule) func(*http.Request) Rule {
	return func(*http.Request) Rule { return rule }
}

// Next follows a rule for n requests of a method ("" any), and passes the others on.
func Next(n int, method string, rule Rule) func(*http.Request) Rule {
	return func(r *http.Request) Rule {
		if n == 0 || method != "" && r.Method != method {
			return Rule{}
		}
		n--
		return rule
	}
}

// Proxy stands before a server and goes wrong as told. It is safe for concurrent use.
type Proxy struct {
	t      testing.TB
	addr   string
	listen Listen
	target *httputil.ReverseProxy
	held   chan struct{}

	mu       sync.Mutex // guards everything below
	server   *http.Server
	served   chan struct{} // closed when server has ended
	rule     func(*http.Request) Rule
	lifted   chan struct{} // closed when rule is another one
	requests int
}

// Listen opens the socket that a proxy listens on.
type Listen func(ctx context.Context, network, address string) (net.Listener, error)

// NewProxy runs a proxy in front of s until the test ends.
func NewProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	return NewProxyAt(t, s, freeAddress(t), new(net.ListenConfig).Listen)
}

// NewProxyAt is [NewProxy] with an address, which listen may open in another network than
// the server's.
func NewProxyAt(t testing.TB, s *Server, addr string, listen Listen) *Proxy {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	p := &Proxy{
		t: t, addr: addr, listen: listen, held: make(chan struct{}, 1000),
		rule: Always(Rule{}), lifted: make(chan struct{}),
		target: &httputil.ReverseProxy{
			// The host's name is signed, so the client's stays.
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: s.addr})
				r.Out.Host = r.In.Host
			},
			Transport:      resigning{transport},
			FlushInterval:  -1, // so that what comes before a cut arrives
			ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
			ModifyResponse: spoil,
			ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		},
	}
	p.Listen()
	t.Cleanup(p.Refuse)
	return p
}

// URL returns the archive's URL of a prefix, through the proxy.
func (p *Proxy) URL(prefix string) string { return archiveURL(p.addr, prefix) }

// Requests returns how many came so far.
func (p *Proxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// Do follows rule from now on; nil passes everything on. Requests that hang by the rule
// before are ended. Rule is not called twice at once.
func (p *Proxy) Do(rule func(*http.Request) Rule) {
	if rule == nil {
		rule = Always(Rule{})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.lifted)
	p.rule, p.lifted = rule, make(chan struct{})
}

// Held receives a value for every request that begins to hang, so that a test need not guess.
func (p *Proxy) Held() <-chan struct{} { return p.held }

// Refuse ends all connections and takes no new ones, until [Proxy.Listen].
func (p *Proxy) Refuse() {
	p.mu.Lock()
	server, served := p.server, p.served
	p.server = nil
	p.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close() // of what it closes, nothing is needed
	<-served
}

// Listen takes connections again.
func (p *Proxy) Listen() {
	p.t.Helper()
	l, err := p.listen(p.t.Context(), "tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	server, served := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}, make(chan struct{})
	p.mu.Lock()
	p.server, p.served = server, served
	p.mu.Unlock()
	go func() {
		defer close(served)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.t.Errorf("proxy: %v", err)
		}
	}()
}

// ServeHTTP implements [http.Handler].
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests++
	rule, lifted := p.rule(r), p.lifted
	p.mu.Unlock()
	if rule.Delay > 0 && !p.wait(r, lifted, time.After(rule.Delay)) {
		return
	}
	switch {
	case rule.Hang:
		_, _ = io.Copy(io.Discard, r.Body) // or the client's going away would not be noticed
		p.held <- struct{}{}
		p.wait(r, lifted, nil)
		panic(http.ErrAbortHandler) // the connection ends without an answer
	case rule.Lose:
		_, _ = io.Copy(io.Discard, r.Body) // as if it were stored
		w.WriteHeader(http.StatusOK)
	case rule.After:
		p.target.ServeHTTP(&unheard{header: http.Header{}}, r)
		rule.answer(w)
	case rule.Status != 0:
		rule.answer(w)
	case rule.Clock != 0 && isSkewed(r, rule.Clock):
		Rule{Status: http.StatusForbidden, Code: "RequestTimeTooSkewed", Date: rule.Clock}.answer(w)
	default:
		p.target.ServeHTTP(w, r.WithContext(withRule(r.Context(), rule)))
	}
}

// wait returns true when after comes, before the client goes away or the rule is lifted.
func (*Proxy) wait(r *http.Request, lifted <-chan struct{}, after <-chan time.Time) bool {
	select {
	case <-after:
		return true
	case <-lifted:
	case <-r.Context().Done():
	}
	return false
}

// answer sends the rule's error as a store would.
func (rule Rule) answer(w http.ResponseWriter) {
	w.Header().Set("Date", time.Now().Add(rule.Date).UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(rule.Status)
	if rule.Code != "" {
		_, _ = io.WriteString(w, "<Error><Code>"+rule.Code+"</Code><Message>as the test wants it</Message></Error>") // to a client that may be gone
	}
}

// spoil makes an answer of the server what the rule of its request wants.
func spoil(resp *http.Response) error {
	rule := ruleOf(resp.Request.Context())
	if wrong := rule.Date + rule.Clock; wrong != 0 {
		resp.Header.Set("Date", time.Now().Add(wrong).UTC().Format(http.TimeFormat))
	}
	if rule.Cut > 0 {
		resp.Body = &cut{resp.Body, rule.Cut}
	}
	if rule.Short > 0 && rule.Short < resp.ContentLength {
		resp.Header.Set("Content-Length", strconv.FormatInt(rule.Short, 10))
		resp.Body = &short{io.LimitReader(resp.Body, rule.Short), resp.Body}
	}
	return nil
}
