package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
)

// Application is a machine that asks to join a cluster.
type Application struct {
	Token   identity.Token
	Ask     string         // the address of a node of the cluster, host:port
	Node    ballast.NodeID // the name it wants
	Listen  string         // where it will listen, host:port or :port
	Address string         // where others reach it, host:port; empty: the address it reaches the other from, and the port of Listen
	Release string         // of its program
}

// Join asks a node of a cluster to take this machine in, and returns its identity
// there, which is not stored yet. A [*Refusal] has changed nothing. After any other error
// but that of reaching the node it may have been taken in: then joining under the same name is possible
// once `ballast node rm` has taken that out again.
func Join(ctx context.Context, a Application) (identity.Folder, error) {
	folder, err := join(ctx, a)
	if _, refused := errors.AsType[*Refusal](err); refused {
		return identity.Folder{}, fmt.Errorf("join the cluster at %s: refused, and nothing was changed: %w", a.Ask, err)
	}
	if err != nil {
		return identity.Folder{}, fmt.Errorf("join the cluster at %s: %w", a.Ask, err)
	}
	return folder, nil
}

func join(ctx context.Context, a Application) (identity.Folder, error) {
	ctx, cancel := context.WithTimeout(ctx, joinPatience+dialPatience)
	defer cancel()
	key, err := identity.NewKey()
	if err != nil {
		return identity.Folder{}, err
	}
	conn, ca, err := dialStranger(ctx, a)
	if err != nil {
		return identity.Folder{}, err
	}
	defer func() { _ = conn.Close() }() // it is used once
	if a.Address == "" {
		if a.Address, err = addressFrom(conn, a.Listen); err != nil {
			return identity.Folder{}, err
		}
	}
	request, err := a.request(key)
	if err != nil {
		return identity.Folder{}, err
	}
	answer, err := exchange(ctx, conn, request)
	if _, refused := errors.AsType[*Refusal](err); err != nil && !refused {
		return identity.Folder{}, fmt.Errorf("%w; whether this machine was taken in is not known: where `ballast node ls` on a node there shows %s, type `ballast node rm %s` there, then join again with another token", err, a.Node, a.Node)
	}
	if err != nil {
		return identity.Folder{}, err
	}
	folder := identity.Folder{
		CA: ca, Certificate: answer.Certificate, Key: key,
		Cluster: identity.Cluster{ID: answer.Cluster, Node: a.Node, Generation: answer.Generation, Listen: a.Listen, Address: a.Address, Peers: answer.Nodes},
	}
	return folder, folder.Check()
}

// dialStranger connects to a node of which only the digest of its authority is known,
// and returns that authority's certificate (P4).
func dialStranger(ctx context.Context, a Application) (*tls.Conn, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	var ca []byte
	dialer := &tls.Dialer{Config: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{ProtocolHTTP1},
		InsecureSkipVerify: true, // verified below, against the token's digest
		VerifyConnection: func(state tls.ConnectionState) (err error) {
			_, ca, err = identity.VerifyDigest(state.PeerCertificates, a.Token.Authority)
			return err
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", a.Ask)
	switch {
	case errors.Is(err, identity.ErrWrongAuthority):
		return nil, nil, &Refusal{refusedToken, "what answers there is not a node of the cluster that the token is for; the token was not shown to it; check the address, and that the token is of that cluster"}
	case err != nil:
		return nil, nil, fmt.Errorf("%w; nothing was changed; see that the address is right, that the agent there runs, and that nothing on the way keeps TCP to it away", err)
	}
	return conn.(*tls.Conn), ca, nil //nolint:forcetypeassert // says its documentation
}

// addressFrom returns where this machine is reached, when it is by the address from
// which it reached the other.
func addressFrom(conn net.Conn, listen string) (string, error) {
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("address %.64q: give host:port: %w", listen, ballast.ErrInvalid)
	}
	return net.JoinHostPort(host, port), nil
}

func (a Application) request(key identity.Key) ([]byte, error) {
	signing, err := key.Request()
	if err != nil {
		return nil, err
	}
	r := joinRequest{
		Version: joinVersion, Release: a.Release, Token: a.Token.ID, Secret: a.Token.Secret.Reveal(),
		Node: string(a.Node), Address: a.Address, Request: signing, Time: time.Now(),
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// exchange sends a request over conn, and over nothing else.
func exchange(ctx context.Context, conn net.Conn, body []byte) (joinAnswer, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends what waits on it
	defer stop()
	var answer joinAnswer
	client := &http.Client{
		Transport: &http.Transport{
			DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return conn, nil },
			DialContext:            refusePlain,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 8 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://cluster"+JoinPath, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.GetBody = nil // it is sent once
	response, err := client.Do(r)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxJoinAnswer))
	if err != nil {
		return answer, fmt.Errorf("the answer did not arrive: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return answer, json.Unmarshal(data, &answer)
	}
	return answer, readRefusal(response.StatusCode, data)
}

func readRefusal(status int, data []byte) error {
	var refusal joinRefusal
	if err := json.Unmarshal(data, &refusal); err != nil || refusal.Text == "" {
		return fmt.Errorf("the node answered with status %d and no reason", status)
	}
	r := Refusal(refusal)
	return &r
}
