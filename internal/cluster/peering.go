package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// Peering is how this node and the others reach each other's etcd: by the one port
// of each, whose HTTP requests are brought to [Records.Handler].
type Peering struct {
	Address string   // where others reach this node, host:port
	Seeds   []string // where other nodes were last seen, host:port; asked when nothing newer is known

	// PEM files: this node's certificate and key, and the authority's certificate. They are
	// read at every new connection, so that they can be renewed.
	CertFile, KeyFile, CAFile string

	// Joined says that this node came to a cluster that there was: its records are
	// those of the others, and it never begins some of its own.
	Joined bool
}

// External is an etcd that is not ours.
type External struct {
	Endpoints                 []string // URLs
	CAFile, CertFile, KeyFile string   // PEM; empty: the system's authorities, no certificate
}

func (p *Peering) url() string { return memberURLOf(p.Address) }

func memberURLOf(address string) string { return "https://" + address }

func (p *Peering) tls() transport.TLSInfo {
	return transport.TLSInfo{CertFile: p.CertFile, KeyFile: p.KeyFile, TrustedCAFile: p.CAFile, ClientCertAuth: true}
}

// tlsConfig returns what the client of an external etcd shows and believes.
func (x *External) tlsConfig() (*tls.Config, error) {
	info := transport.TLSInfo{CertFile: x.CertFile, KeyFile: x.KeyFile, TrustedCAFile: x.CAFile}
	if x.CertFile == "" && x.CAFile == "" {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	return info.ClientConfig()
}

// SetPeering says how this node and others reach each other from now on. Run changes
// over to it by itself; what is asked meanwhile waits a moment.
func (r *Records) SetPeering(p Peering) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peering = &p
	if r.cfg.External == nil {
		// Whatever is asked from here on must not go to an etcd that is about to end.
		r.moving = true
		r.setKeysLocked(nil, nil)
	}
	select {
	case r.switched <- struct{}{}:
	default: // it will be seen with the one before
	}
}

// takePeering is currentPeering for who begins to go by it: what was announced has happened.
func (r *Records) takePeering() *Peering {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moving = false
	select {
	case <-r.switched:
	default: // nothing was
	}
	return r.peering
}

func (r *Records) currentPeering() *Peering {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peering
}

// hasData reports whether this node has been a member of etcd, and still has what it
// kept as one.
func (r *Records) hasData() bool {
	logs, err := filepath.Glob(filepath.Join(r.cfg.Dir, "member", "wal", "*.wal"))
	return err == nil && len(logs) > 0
}

// setAside takes what this node kept as a member out of use. The last is kept, so that
// an operator who removed the wrong one has something to go back to.
func (r *Records) setAside() error {
	from, to := filepath.Join(r.cfg.Dir, "member"), filepath.Join(r.cfg.Dir, "member.removed")
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("set old records aside: %w", err)
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set old records aside: %w", err)
	}
	return nil
}

// addresses returns where a member may be found: those that were last known, and
// when none is, all nodes and the seeds.
func (r *Records) addresses(p *Peering) []string {
	var urls []string
	for _, m := range r.view.allMembers() {
		if !m.Learner && m.URL != "" && m.URL != p.url() { // who asks is no member
			urls = append(urls, m.URL)
		}
	}
	if len(urls) > 0 {
		return urls
	}
	return r.everywhere(p)
}

func (r *Records) everywhere(p *Peering) []string {
	var urls []string
	for _, n := range r.Nodes() {
		if n.Address != "" && n.Address != p.Address {
			urls = append(urls, memberURLOf(n.Address))
		}
	}
	for _, seed := range p.Seeds {
		urls = append(urls, memberURLOf(seed))
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// mode is what this node is to the records.
type mode int

const (
	member   mode = iota // holds etcd, alone or with others
	client               // asks those who do
	stranger             // asks an etcd that is not ours
)

// mode decides what this node is, from what it has and knows.
func (r *Records) mode() mode {
	p := r.currentPeering()
	switch {
	case r.cfg.External != nil:
		return stranger
	case p == nil || r.hasData():
		return member
	case p.Joined || len(r.everywhere(p)) > 0:
		return client
	}
	return member
}
