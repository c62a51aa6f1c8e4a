package agent

import (
	"cmp"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/peer"
)

const minReplaceAfter = 10 * time.Second

// withCluster completes what is said of the cluster.
func (c Config) withCluster() (Config, error) {
	c.Lease = cmp.Or(c.Lease, DefaultLease)
	c.ReplaceAfter = cmp.Or(c.ReplaceAfter, DefaultReplaceAfter)
	c.EtcdMembers = cmp.Or(c.EtcdMembers, DefaultEtcdMembers)
	switch {
	case c.Lease < cluster.MinLease || c.Lease > cluster.MaxLease:
		return c, fmt.Errorf("start agent: a lease has from %s to %s, not %s: %w", cluster.MinLease, cluster.MaxLease, c.Lease, ballast.ErrInvalid)
	case c.ReplaceAfter < minReplaceAfter:
		return c, fmt.Errorf("start agent: a node is waited for at least %s before its copies are made anew, not %s: %w", minReplaceAfter, c.ReplaceAfter, ballast.ErrInvalid)
	case c.EtcdMembers < 1 || c.EtcdMembers > cluster.MostMembers:
		return c, fmt.Errorf("start agent: from 1 to %d nodes keep the records, not %d: %w", cluster.MostMembers, c.EtcdMembers, ballast.ErrInvalid)
	case (c.EtcdCert == "") != (c.EtcdKey == ""):
		return c, fmt.Errorf("start agent: a certificate for etcd goes with its key; give both: %w", ballast.ErrInvalid)
	case len(c.Etcd) == 0 && c.EtcdCA+c.EtcdCert != "":
		return c, fmt.Errorf("start agent: a certificate is given for an etcd, and no URL of one: %w", ballast.ErrInvalid)
	}
	for _, url := range c.Etcd {
		if !strings.HasPrefix(url, "https://") {
			return c, fmt.Errorf("start agent: etcd %.64q: it is reached by TLS only; give https://HOST:PORT: %w", url, ballast.ErrInvalid)
		}
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return c, fmt.Errorf("start agent: listen at %.64q: give HOST:PORT or :PORT: %w", c.Listen, ballast.ErrInvalid)
		}
	}
	if c.Advertise != "" {
		if err := peer.CheckAddress(withPort(c.Advertise, c.port())); err != nil {
			return c, fmt.Errorf("start agent: %w", err)
		}
	}
	return c, nil
}

// external returns the etcd that is not ours, nil when the nodes keep the records.
func (c Config) external() *cluster.External {
	if len(c.Etcd) == 0 {
		return nil
	}
	return &cluster.External{Endpoints: c.Etcd, CAFile: c.EtcdCA, CertFile: c.EtcdCert, KeyFile: c.EtcdKey}
}

// port returns the port that other nodes come to.
func (c Config) port() string {
	if _, port, err := net.SplitHostPort(c.Listen); err == nil {
		return port
	}
	return DefaultPort
}

// settleAddress returns where this node listens and where others reach it: as asked for now,
// else as its options say, else as before, else at the one address where it listens, else at the
// address by which it reaches the world.
func (c Config) settleAddress(asked, before string) (listen, address string, err error) {
	address = cmp.Or(asked, c.Advertise, before, c.listenAddress())
	if address == "" {
		host, err := ownAddress()
		if err != nil {
			return "", "", err
		}
		address = host
	}
	address = withPort(address, c.port())
	return cmp.Or(c.Listen, address), address, peer.CheckAddress(address)
}

// listenAddress returns where this node listens, when that is one address that others could
// know it by; else nothing.
func (c Config) listenAddress() string {
	if peer.CheckAddress(c.Listen) != nil {
		return ""
	}
	return c.Listen
}

// withPort adds the port to a host that has none.
func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}

// ownAddress returns the address from which this machine reaches others: that of the
// default route, else the first one that is not of a bridge of Docker's.
func ownAddress() (string, error) {
	// No packet is sent: the kernel only looks up the route. The address is reserved
	// for documentation.
	if conn, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		host, _, err := net.SplitHostPort(conn.LocalAddr().String())
		_ = conn.Close() // nothing was sent
		if err == nil {
			return host, nil
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("find this machine's address: %w", err)
	}
	for _, link := range links {
		if host, ok := addressOf(link); ok {
			return host, nil
		}
	}
	return "", fmt.Errorf("this machine has no address that others could reach; give one with --listen: %w", ballast.ErrInvalid)
}

func addressOf(link net.Interface) (string, bool) {
	for _, foreign := range []string{"lo", "docker", "br-", "veth"} {
		if strings.HasPrefix(link.Name, foreign) {
			return "", false
		}
	}
	addresses, err := link.Addrs()
	if err != nil || link.Flags&net.FlagUp == 0 {
		return "", false
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			return ip.IP.String(), true
		}
	}
	return "", false
}
