package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
)

// The right node gets everything, on connections that say whom they are with.
func TestNodesSpeak(t *testing.T) {
	c := newTestCluster(t)
	n1, _ := c.enter("n1")
	n2, _ := c.enter("n2")
	address := c.serve(n1)
	dialer := NewDialer(n2, c.known)
	conn, err := dialer.Dial(t.Context(), "n1", address, ProtocolReplica)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := readHello(conn); err != nil || got != "hello n2" {
		t.Errorf("stream = %q, %v", got, err)
	}
	if refused, err := dialer.Refused(t.Context(), "n1", address); refused || err != nil {
		t.Errorf("refused = %t, %v", refused, err)
	}
	client := dialer.HTTP("n1", always(address))
	defer client.CloseIdleConnections()
	if got, err := get(t.Context(), client, "/x"); err != nil || got != "hello n2" {
		t.Errorf("request = %q, %v", got, err)
	}
}

// Who dials one node and reaches another says nothing to it (P2).
func TestDialRefusesWhomItDidNotWant(t *testing.T) {
	c, other := newTestCluster(t), newTestCluster(t)
	n1, _ := c.enter("n1")
	n2, _ := c.enter("n2")
	stranger, _ := other.enter("n1")
	expired, _ := c.credentials("n1", 1, -time.Minute)
	old, _ := c.credentials("n1", 7, time.Hour)
	for _, tt := range []struct {
		name   string
		server *identity.Credentials
		want   ballast.NodeID
	}{
		{"another node", n1, "n3"},
		{"a node of another cluster", stranger, "n1"},
		{"an expired certificate", expired, "n1"},
		{"another generation", old, "n1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := c.serve(tt.server)
			dialer := NewDialer(n2, c.known)
			if conn, err := dialer.Dial(t.Context(), tt.want, address, ProtocolReplica); err == nil {
				conn.Close()
				t.Error("it was dialed")
			}
			client := dialer.HTTP(tt.want, always(address))
			if body, err := get(t.Context(), client, "/"); err == nil {
				t.Errorf("it answered %q", body)
			}
			if served := c.takeServed(); len(served) > 0 {
				t.Errorf("it was told %q", served)
			}
		})
	}
}

// visitor is who comes to the port.
type visitor struct {
	name  string
	cert  *tls.Certificate // nil: none
	right bool
}

func visitors(t *testing.T, c *testCluster) []visitor {
	t.Helper()
	other := newTestCluster(t)
	cert := func(own *identity.Credentials, _ any) *tls.Certificate { return own.Certificate() }
	impostor := newTestCluster(t)
	var err error
	if impostor.authority, err = identity.NewAuthority(c.authority.Cluster()); err != nil {
		t.Fatal(err)
	}
	right := cert(c.enter("n2"))
	old := cert(c.credentials("n3", 1, time.Hour))
	c.enter("n3")
	c.enter("n3")
	removed := cert(c.enter("n4"))
	c.remove("n4")
	stolen := *right
	theirs := cert(other.enter("n2"))
	stolen.PrivateKey = theirs.PrivateKey // the certificate is public, its key is not
	return []visitor{
		{"a node of the cluster", right, true},
		{"nobody", nil, false},
		{"a node of another cluster", theirs, false},
		{"a node of a cluster that took our name", cert(impostor.enter("n2")), false},
		{"a node that was removed", removed, false},
		{"a node that has joined again since", old, false},
		{"a node that nobody knows", cert(c.credentials("n9", 1, time.Hour)), false},
		{"an expired certificate", cert(c.credentials("n2", 1, -time.Minute)), false},
		{"a certificate without its key", &stolen, false},
	}
}

// TestMatrix is every kind of visitor at every protocol and path: what may pass, passes,
// and of the rest no byte is answered but TLS's (P1, P3, G10).
func TestMatrix(t *testing.T) {
	c := newTestCluster(t)
	n1, _ := c.enter("n1")
	address := c.serve(n1)
	type door struct{ protocol, method, path string }
	var doors []door
	for _, protocol := range []string{ProtocolHTTP2, ProtocolHTTP1, ""} {
		for _, path := range []string{"/", "/join", "/raft", "/raft/stream/message/1", "/members", "/etcdserverpb.KV/Range", "/ballast.v1.NodeService/Status", "/chunks/a/0", "/metrics", "/JOIN", "/join/", "//join", "/x/../join"} {
			doors = append(doors, door{protocol, http.MethodGet, path}, door{protocol, http.MethodPost, path})
		}
	}
	doors = append(doors, door{ProtocolReplica, "", ""}, door{"ballast-replica/2", "", ""}, door{"h3", "", ""})
	cells, passed := 0, 0
	for _, who := range visitors(t, c) {
		for _, d := range doors {
			cells++
			got, err := knock(t.Context(), address, who, d.protocol, d.method, d.path)
			served := c.takeServed()
			want := ""
			switch known := d.protocol == ProtocolHTTP2 || d.protocol == ProtocolHTTP1 || d.protocol == ""; {
			case who.right && known:
				want = "http n2 " + d.path
			case who.right && d.protocol == ProtocolReplica:
				want = "stream n2"
			case who.cert == nil && d.protocol == ProtocolHTTP1 && d.method == http.MethodPost && d.path == "/join":
				want = "join"
			}
			if gotServed := strings.Join(served, ","); gotServed != want {
				t.Errorf("%s, %q %s %s: served %q, want %q (%q, %v)", who.name, d.protocol, d.method, d.path, gotServed, want, got, err)
			}
			if want != "" {
				passed++
				continue
			}
			// Who may at least ask is told that he may not.
			mayAsk := who.cert == nil && d.protocol == ProtocolHTTP1
			if !mayAsk && got != "" || mayAsk && !strings.Contains(got, "403") {
				t.Errorf("%s, %q %s %s: answered %q", who.name, d.protocol, d.method, d.path, got)
			}
		}
	}
	t.Logf("%d cells, %d of them may pass", cells, passed)
}

// knock opens a connection, says one request or nothing, and returns what is answered.
func knock(ctx context.Context, address string, who visitor, protocol, method, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if protocol != "" {
		cfg.NextProtos = []string{protocol}
	}
	if who.cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return who.cert, nil }
	}
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if method == "" {
		return readHello(conn)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		Protocols:      &protocols,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, method, "https://node/", bytes.NewReader([]byte("{}")))
	if err != nil {
		return "", err
	}
	r.URL.Path = path
	response, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.Status + " " + string(body), err
}

// A node that is removed while it has connections open loses them (P3).
func TestRemovedNodeLosesItsConnections(t *testing.T) {
	c := newTestCluster(t)
	n1, _ := c.enter("n1")
	n2, _ := c.enter("n2")
	address := c.serve(n1)
	dialer := NewDialer(n2, nil)
	conn, err := dialer.Dial(t.Context(), "n1", address, ProtocolReplica)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := readHello(conn); err != nil {
		t.Fatal(err)
	}
	client := dialer.HTTP("n1", always(address))
	defer client.CloseIdleConnections()
	if _, err := get(t.Context(), client, "/"); err != nil {
		t.Fatal(err)
	}
	c.remove("n2")
	c.takeServed()
	if body, err := get(t.Context(), client, "/"); err == nil {
		t.Errorf("a removed node was answered %q on an old connection", body)
	}
	if p, err := readHello(conn); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the stream of a removed node goes on: %q, %v", p, err)
	}
	if refused, err := dialer.Refused(t.Context(), "n1", address); !refused || err != nil {
		t.Errorf("a removed node is refused = %t, %v", refused, err)
	}
	if conn, err := dialer.Dial(t.Context(), "n1", address, ProtocolReplica); err == nil {
		if p, err := readHello(conn); err == nil {
			t.Errorf("a removed node was let in again: %q", p)
		}
		conn.Close()
	}
	if served := c.takeServed(); len(served) > 0 {
		t.Errorf("it reached %q", served)
	}
}

// A renewed certificate is shown by the running server, and by the running dialer.
func TestRenewalNeedsNoRestart(t *testing.T) {
	c := newTestCluster(t)
	n1, disk1 := c.enter("n1")
	n2, disk2 := c.enter("n2")
	address := c.serve(n1)
	dialer := NewDialer(n2, c.known)
	serial := func() string {
		conn, err := dialer.dial(t.Context(), "n1", address, ProtocolHTTP2)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String() + " " + n2.Certificate().Leaf.SerialNumber.String()
	}
	before := serial()
	if err := identity.SaveCertificate(disk1, identity.Dir, c.sign(n1.Key(), "n1", 1, 2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := identity.SaveCertificate(disk2, identity.Dir, c.sign(n2.Key(), "n2", 1, 2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	after := strings.Fields(serial())
	for i, was := range strings.Fields(before) {
		if after[i] == was {
			t.Errorf("certificate %d is the one from before the renewal", i)
		}
	}
}
