package cluster

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/ballast-io/ballast"
)

// mutableListener accepts connections of which either direction can be silenced.
type mutableListener struct {
	net.Listener

	ring *ring
	to   ballast.NodeID
}

// Accept implements [net.Listener].
func (l mutableListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &mutableConn{Conn: conn, ring: l.ring, to: l.to}, nil
}

// mutableConn loses what is sent in a direction that is muted, and says nothing of it.
type mutableConn struct {
	net.Conn

	ring *ring
	to   ballast.NodeID
	from ballast.NodeID // who has connected; empty until its first request. Guarded by ring.mu
}

func (c *mutableConn) muted(inward bool) bool {
	c.ring.mu.Lock()
	defer c.ring.mu.Unlock()
	if inward {
		return c.ring.muted[[2]ballast.NodeID{c.from, c.to}]
	}
	return c.ring.muted[[2]ballast.NodeID{c.to, c.from}]
}

// Read implements [net.Conn].
func (c *mutableConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.muted(true) {
			return n, err
		}
	}
}

// Write implements [net.Conn].
func (c *mutableConn) Write(p []byte) (int, error) {
	if c.muted(false) {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// The member that leads hears the others and is not heard, or is heard and hears nobody: the
// others go on, it has no session any more, and takes part again when it can.
func TestOneWayCuts(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("deaf=%t", deaf), func(t *testing.T) {
			r := newRing(t, "n1", "n2", "n3")
			r.startAll("n1", "n2", "n3")
			for _, n := range r.nodes {
				n.awaitVoters(3)
			}
			var leader *ringNode
			eventually(t, "somebody leads", func() error {
				for _, n := range r.nodes {
					if n.Leads() {
						leader = n
						return nil
					}
				}
				return errors.New("nobody leads")
			})
			r.mu.Lock()
			for other := range r.nodes {
				way := [2]ballast.NodeID{leader.name, other}
				if deaf {
					way = [2]ballast.NodeID{other, leader.name}
				}
				r.muted[way] = other != leader.name
			}
			r.mu.Unlock()
			for _, n := range r.nodes {
				if n != leader {
					eventually(t, string(n.name)+" works on", func() error {
						_, err := n.Create(t.Context(), "of-"+string(n.name), nil)
						if errors.Is(err, ballast.ErrExists) {
							return nil // the answer to an earlier try was lost
						}
						return err
					})
				}
			}
			eventually(t, "the session of who led ends", func() error {
				leader.mu.Lock()
				defer leader.mu.Unlock()
				if left := leader.until - leader.boot(); left > 0 {
					return fmt.Errorf("%s are left", left)
				}
				return nil
			})
			r.heal()
			for _, n := range r.nodes {
				eventually(t, string(n.name)+" knows all", func() error {
					if got := len(n.List()); got != 2 {
						return fmt.Errorf("it knows %d volumes", got)
					}
					return nil
				})
			}
		})
	}
}
