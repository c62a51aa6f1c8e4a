package lab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed network.sh
var networkScript string

// router is the address that every machine sends through. It is the same on all links.
const router = "10.77.0.254"

// network joins machines: a cable from each one to a router, which is connected to
// nothing else. Whatever goes wrong between machines goes wrong in the router, so nothing
// has to be known of it inside of a machine.
type network struct {
	ns *namespaces

	mu     sync.Mutex // guards what follows
	ports  map[string]netip.Addr
	faults map[link]Fault
	held   *holdUp // packets of slow links; nil before the first
}

// link is one direction between two machines.
type link struct{ from, to string }

// Fault is what is wrong with one direction of a connection. The zero value is a good one.
type Fault struct {
	Cut   bool          // nothing arrives
	Loss  float64       // the share of packets that do not arrive, from 0 to 1
	Delay time.Duration // of every packet
	Rate  int64         // bytes per second; 0: as fast as it goes
}

func (f Fault) slow() bool { return f.Delay > 0 || f.Rate > 0 }

// openNetwork makes a network without machines. What is below dir goes with it.
func openNetwork(dir string) (*network, error) {
	ns, err := openNamespaces(networkScript, dir)
	if err != nil {
		return nil, fmt.Errorf("make lab network: %w", err)
	}
	return &network{ns: ns, ports: map[string]netip.Addr{}, faults: map[link]Fault{}}, nil
}

// close takes the network apart. The machines are gone before.
func (n *network) close() error {
	n.mu.Lock()
	held := n.held
	n.held = nil
	n.mu.Unlock()
	return errors.Join(held.close(), n.ns.close())
}

// run runs a program of the host in the router.
func (n *network) run(ctx context.Context, in, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(in)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := n.ns.start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// plug connects a machine that has just been switched on.
func (n *network) plug(ctx context.Context, m *Machine, name string, addr netip.Addr) error {
	ns, err := m.running()
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.ports[name] = addr
	n.mu.Unlock()
	err = n.run(ctx, "", "sh", "-ec", `
		ip link del "$1" 2>/dev/null || true # of the machine's former life
		ip link add "$1" type veth peer name eth0 netns "$2"
		ip address add "$4/32" dev "$1"
		ip link set "$1" up
		ip route add "$3/32" dev "$1"`, "sh", name, fmt.Sprint(ns.pid), addr.String(), router)
	if err != nil {
		return fmt.Errorf("plug %s into the network: %w", name, err)
	}
	_, err = m.Output(ctx, "sh", "-ec", `
		ip address add "$1/32" dev eth0
		ip link set eth0 up
		ip route add default via "$2" dev eth0 onlink`, "sh", addr.String(), router)
	return err
}

// set changes what is wrong with some directions, all at once.
func (n *network) set(ctx context.Context, change func(faults map[link]Fault)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n.faults)
	maps.DeleteFunc(n.faults, func(_ link, f Fault) bool { return f == Fault{} })
	if err := n.holdLocked(ctx); err != nil {
		return err
	}
	return n.run(ctx, n.rulesLocked(), "iptables-restore", "-w")
}

// rulesLocked are the router's rules. They are loaded in one piece, so that of two
// directions none is cut before the other.
func (n *network) rulesLocked() string {
	var drop, hold strings.Builder
	for _, l := range slices.SortedFunc(maps.Keys(n.faults), compareLinks) {
		f := n.faults[l]
		// By port: what was held comes in from elsewhere, and is not lost or held again.
		match := fmt.Sprintf("-i %s -s %s -d %s", l.from, n.ports[l.from], n.ports[l.to])
		if f.Cut {
			// From any port: nor does what was held before arrive.
			fmt.Fprintf(&drop, "-A FORWARD -s %s -d %s -j DROP\n", n.ports[l.from], n.ports[l.to])
		}
		if f.Loss > 0 {
			fmt.Fprintf(&drop, "-A FORWARD %s -m statistic --mode random --probability %.4f -j DROP\n", match, f.Loss)
		}
		if f.slow() {
			fmt.Fprintf(&hold, "-A PREROUTING %s -j MARK --set-mark %s\n", match, heldMark)
		}
	}
	return "*mangle\n:PREROUTING ACCEPT\n" + hold.String() + "COMMIT\n*filter\n:FORWARD ACCEPT\n" + drop.String() + "COMMIT\n"
}

func compareLinks(a, b link) int {
	return strings.Compare(a.from+" "+a.to, b.from+" "+b.to)
}

// holdLocked tells who holds packets up which ones, and begins with it when there is a
// first slow link.
func (n *network) holdLocked(ctx context.Context) error {
	slow := map[route]Fault{}
	for l, f := range n.faults {
		if f.slow() {
			slow[route{n.ports[l.from], n.ports[l.to]}] = f
		}
	}
	if n.held == nil && len(slow) > 0 {
		held, err := startHoldUp(n.ns)
		if err != nil {
			return err
		}
		n.held = held
		if err := n.run(ctx, "", "sh", "-ec", holdScript, "sh", heldDevice, heldMark); err != nil {
			return err
		}
	}
	if n.held != nil {
		n.held.set(slow)
	}
	return nil
}
