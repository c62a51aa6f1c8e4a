package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
)

const (
	dialPatience = 5 * time.Second
	maxIdle      = 2 * time.Minute
)

// Dialer opens connections to other nodes.
type Dialer struct {
	own   *identity.Credentials
	nodes Nodes
}

// NewDialer returns a dialer for the node that own is of. With nodes, it refuses
// those that the cluster no longer has; nil: it does not ask.
func NewDialer(own *identity.Credentials, nodes Nodes) *Dialer { return &Dialer{own, nodes} }

// Dial returns a connection to node at address (host:port), for protocol. Whoever else
// answers there is an error, before anything but the handshake was said (P2).
func (d *Dialer) Dial(ctx context.Context, node ballast.NodeID, address, protocol string) (net.Conn, error) {
	return d.dial(ctx, node, address, protocol)
}

func (d *Dialer) dial(ctx context.Context, node ballast.NodeID, address string, protocols ...string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	dialer := &tls.Dialer{NetDialer: &net.Dialer{KeepAliveConfig: keepAlive}, Config: d.config(node, protocols)}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reach node %s at %s: %w", node, address, err)
	}
	return conn.(*tls.Conn), nil //nolint:forcetypeassert // says its documentation
}

// keepAlive finds out in a few seconds that the other machine is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 5}

func (d *Dialer) config(node ballast.NodeID, protocols []string) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  protocols,
		DynamicRecordSizingDisabled: true, // see Server.config
		InsecureSkipVerify:          true, // verified below: by the node's name, not by the host's
		GetClientCertificate:        func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.own.Certificate(), nil },
		VerifyConnection:            func(state tls.ConnectionState) error { return d.verify(state, node, protocols) },
	}
}

// verify asks that it is node who answers.
func (d *Dialer) verify(state tls.ConnectionState, node ballast.NodeID, protocols []string) error {
	who, err := d.own.Verify(state.PeerCertificates)
	if err != nil {
		return err
	}
	if who.Name != node {
		return fmt.Errorf("node %s answers there, not %s", who.Name, node)
	}
	if len(protocols) > 0 && state.NegotiatedProtocol == "" {
		return errors.New("it does not speak any of our protocols")
	}
	if d.nodes == nil {
		return nil
	}
	return d.nodes.allow(who)
}

// HTTP returns a client whose requests all go to node, whatever host their URL has. It asks
// for the node's address at every new connection. The caller may close its idle connections.
func (d *Dialer) HTTP(node ballast.NodeID, address func() (string, error)) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Client{
		Transport: &http.Transport{
			Protocols: &protocols,
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				at, err := address()
				if err != nil {
					return nil, err
				}
				return d.dial(ctx, node, at, ProtocolHTTP2, ProtocolHTTP1)
			},
			DialContext:            refusePlain,
			IdleConnTimeout:        maxIdle,
			MaxIdleConnsPerHost:    4,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a node sends nobody elsewhere") },
	}
}

// refusePlain keeps a URL without TLS from being followed (G10).
func refusePlain(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("between nodes there is TLS only: use https")
}

// refusalPatience is how long a node that refuses a certificate takes to say so at most,
// after it has answered.
const refusalPatience = time.Second

// Refused reports whether node answers at address and does not let this one in: it
// was removed from the cluster, or its certificate has ended. An error says nothing.
func (d *Dialer) Refused(ctx context.Context, node ballast.NodeID, address string) (bool, error) {
	conn, err := d.dial(ctx, node, address, ProtocolHTTP1)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // it was asked one thing
	if err := conn.SetReadDeadline(time.Now().Add(refusalPatience)); err != nil {
		return false, err
	}
	_, err = conn.Read(make([]byte, 1)) // who is let in is waited for to speak first
	said, ok := errors.AsType[*net.OpError](err)
	return ok && said.Op == "remote error", nil
}
