package peer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
)

// ProtocolFormer is how a node that has become another cluster's proves to those of its former one
// that it has: it shows them its former certificate, and says which cluster it is of now.
const ProtocolFormer = "ballast-former/1"

const (
	formerPatience = 2 * time.Second
	maxFormer      = 4 << 10 // bytes
)

// Former is what a node says to the nodes of a cluster that it was of.
type Former struct {
	Cluster string    `json:"cluster"` // that it is of now
	At      time.Time `json:"at"`      // when an operator said so
}

// formerly is a node under its former identity.
type formerly struct {
	own *identity.Credentials
	say Former
}

// config answers a client of the former cluster. Whoever asks is told: it is no secret.
func (f *formerly) config(hello *tls.ClientHelloInfo) *tls.Config {
	if f == nil || !slices.Contains(hello.SupportedProtos, ProtocolFormer) {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{ProtocolFormer}, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.own.Certificate(), nil },
	}
}

// answer says it, to a connection whose handshake is done, and closes it.
func (f *formerly) answer(conn *tls.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(formerPatience)) // or it is closed now
	return errors.Join(json.NewEncoder(conn).Encode(f.say), conn.Close())
}

// Former asks whether node, at address, has become another cluster's. That it is that node its
// certificate of this cluster proves. An error says nothing.
func (d *Dialer) Former(ctx context.Context, node ballast.NodeID, address string) (Former, error) {
	ctx, cancel := context.WithTimeout(ctx, formerPatience)
	defer cancel()
	conn, err := d.dial(ctx, node, address, ProtocolFormer)
	if err != nil {
		return Former{}, err
	}
	defer func() { _ = conn.Close() }() // it was only read
	if err := conn.SetReadDeadline(time.Now().Add(formerPatience)); err != nil {
		return Former{}, err
	}
	var said Former
	if err := json.NewDecoder(io.LimitReader(conn, maxFormer)).Decode(&said); err != nil {
		return Former{}, fmt.Errorf("ask node %s what cluster it is of: %w", node, err)
	}
	if said.Cluster == "" || said.Cluster == d.own.Self().Cluster {
		return Former{}, fmt.Errorf("node %s says that it is of cluster %q: %w", node, said.Cluster, net.ErrClosed)
	}
	return said, nil
}
