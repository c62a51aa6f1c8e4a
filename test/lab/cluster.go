package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// ClusterOptions of a cluster. The zero value is a good one.
type ClusterOptions struct {
	Machine Options // of every machine; Node is its own
	Apart   bool    // the machines are connected, and no agent is started
}

// Cluster is machines that reach each other, and nobody else. Make one with
// [NewCluster]; Close it. Its methods may be called by several goroutines, but for those
// that switch one machine on and off.
type Cluster struct {
	Dir   string  // the machines' folders are in it; removed by Close
	Nodes []*Node // in the order in which they joined

	net  *network
	opts ClusterOptions // constant
	made int            // machines in all

	strangers []*Node // machines beside Nodes
}

// Node is a machine of a cluster.
type Node struct {
	*Machine
	Name    string // n1, n2, …
	Address string // of its own in the cluster's network
}

// NewCluster makes n machines (1 to 20) that keep everything in dir, which must be empty
// or not exist, and makes their agents one cluster, whose first node is Nodes[0]. The
// names of all nodes are known on each. No Docker Engine runs yet. It needs root.
func NewCluster(ctx context.Context, dir string, n int, opts ClusterOptions) (*Cluster, error) {
	if n < 1 || n > 20 {
		return nil, fmt.Errorf("make lab cluster: %d nodes: want 1 to 20", n)
	}
	dir, err := makeEmpty(dir)
	if err != nil {
		return nil, fmt.Errorf("make lab cluster: %w", err)
	}
	c := &Cluster{Dir: dir, opts: opts}
	if c.net, err = openNetwork(dir); err != nil {
		return nil, fmt.Errorf("make lab cluster: %w", err)
	}
	if err := c.make(ctx, n); err != nil {
		for _, node := range c.Nodes {
			err = fmt.Errorf("%w\nagent of %s: %s", err, node.Name, node.Agent.LogTail())
		}
		return nil, errors.Join(fmt.Errorf("make lab cluster in %s: %w", dir, err), c.Close())
	}
	return c, nil
}

func (c *Cluster) make(ctx context.Context, n int) error {
	for range n {
		m, err := c.addMachine(ctx, fmt.Sprintf("n%d", c.made+1))
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, m)
	}
	if err := c.tellNames(ctx); err != nil || c.opts.Apart {
		return err
	}
	return c.form(ctx)
}

// Add makes a machine more, with an agent that is a cluster of its own, under a node name
// that may be one of Nodes. It is not in Nodes. The machines of before do not know its name.
func (c *Cluster) Add(ctx context.Context, name string) (*Node, error) {
	n, err := c.addMachine(ctx, name)
	if err == nil {
		c.strangers = append(c.strangers, n)
		err = n.Agent.Start(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("add a machine to lab cluster in %s: %w", c.Dir, err)
	}
	return n, nil
}

func (c *Cluster) addMachine(ctx context.Context, name string) (*Node, error) {
	c.made++
	addr := netip.AddrFrom4([4]byte{10, 77, 0, byte(c.made)})
	port := fmt.Sprintf("n%d", c.made)
	opts := c.opts.Machine
	opts.Node = name
	m, err := newMachine(ctx, filepath.Join(c.Dir, port), opts, func(ctx context.Context, m *Machine) error {
		if err := c.net.plug(ctx, m, port, addr); err != nil {
			return err
		}
		return showNames(ctx, m)
	})
	if err != nil {
		return nil, err
	}
	return &Node{Machine: m, Name: name, Address: addr.String()}, nil
}

// tellNames makes the machines know each other by name.
func (c *Cluster) tellNames(ctx context.Context) error {
	var text strings.Builder
	fmt.Fprintln(&text, "127.0.0.1 localhost")
	for _, n := range c.Nodes {
		fmt.Fprintln(&text, n.Address, n.Name)
	}
	for _, n := range c.Nodes {
		if err := os.WriteFile(n.Path("hosts"), []byte(text.String()), 0o644); err != nil {
			return err
		}
		if err := showNames(ctx, n.Machine); err != nil {
			return err
		}
	}
	return nil
}

// showNames puts the names where a machine's programs look for them.
func showNames(ctx context.Context, m *Machine) error {
	if _, err := os.Stat(m.Path("hosts")); err != nil {
		return nil //nolint:nilerr // none are known before all machines are made
	}
	_, err := m.Output(ctx, "mount", "--bind", m.Path("hosts"), "/etc/hosts")
	return err
}

// form starts all agents and makes them one cluster.
func (c *Cluster) form(ctx context.Context) error {
	var starts errgroup.Group
	for _, n := range c.Nodes {
		starts.Go(func() error { return n.Agent.Start(ctx) })
	}
	if err := starts.Wait(); err != nil {
		return err
	}
	for _, n := range c.Nodes[1:] {
		if err := c.Join(ctx, n, c.Nodes[0]); err != nil {
			return err
		}
	}
	return c.AwaitUp(ctx)
}

// joinLine is what "ballast token create" prints to be pasted on another machine.
var joinLine = regexp.MustCompile(`ballast join (\S+) (\S+)`)

// JoinLine finds the token and the address in what "ballast token create" says.
func JoinLine(said string) (token, address string, ok bool) {
	words := joinLine.FindStringSubmatch(said)
	if words == nil {
		return "", "", false
	}
	return words[1], words[2], true
}

// Join makes a node whose agent runs a node of the cluster that another one is in, as a
// person would: with a token of that one.
func (c *Cluster) Join(ctx context.Context, joins, other *Node) error {
	said, err := other.Ballast(ctx, "token", "create")
	if err != nil {
		return fmt.Errorf("make a token on %s: %w", other.Name, err)
	}
	token, address, ok := JoinLine(said)
	if !ok {
		return fmt.Errorf("make a token on %s: it said nothing to paste: %q", other.Name, said)
	}
	if _, err := joins.Ballast(ctx, "join", token, address); err != nil {
		return fmt.Errorf("make %s join %s: %w", joins.Name, other.Name, err)
	}
	return nil
}

// AwaitUp waits until every node whose agent runs says that all of those are up, and as
// many of them keep the records as there shall be.
func (c *Cluster) AwaitUp(ctx context.Context) error {
	if len(c.Nodes) == 1 {
		return nil
	}
	running := slices.DeleteFunc(slices.Clone(c.Nodes), func(n *Node) bool { return !n.Agent.Running() })
	return Poll(ctx, "all nodes to be up", func(ctx context.Context) error {
		for _, n := range running {
			if err := n.sees(ctx, running); err != nil {
				return err
			}
		}
		return nil
	})
}

// sees asks a node about others.
func (n *Node) sees(ctx context.Context, others []*Node) error {
	text, err := n.Ballast(ctx, "node", "ls", "--json")
	if err != nil {
		return err
	}
	var said struct {
		Nodes []struct {
			Name, State string
			Member      bool
		}
	}
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return fmt.Errorf("read what node ls said: %w", err)
	}
	up, members := map[string]bool{}, 0
	for _, node := range said.Nodes {
		up[node.Name] = node.State == "up"
		if node.Member {
			members++
		}
	}
	for _, other := range others {
		if !up[other.Name] {
			return fmt.Errorf("%s says that %s is not up", n.Name, other.Name)
		}
	}
	if want := membersOf(len(said.Nodes)); members < want {
		return fmt.Errorf("%s says that %d nodes keep the records; want %d", n.Name, members, want)
	}
	return nil
}

// membersOf is how many nodes of so many keep the records.
func membersOf(nodes int) int {
	switch {
	case nodes < 3:
		return 1
	case nodes < 5:
		return 3
	default:
		return 5
	}
}

// Node returns the node of that name, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Close ends all machines at once and leaves nothing of them behind. It may be called
// again.
func (c *Cluster) Close() error {
	var closing errgroup.Group
	for _, n := range slices.Concat(c.Nodes, c.strangers) {
		closing.Go(n.Close)
	}
	err := closing.Wait()
	if c.net != nil {
		err = errors.Join(err, c.net.close())
		c.net = nil
	}
	return err
}

// PowerOn switches a machine on and starts its agent, without waiting for it to answer.
func (n *Node) PowerOn(ctx context.Context) error {
	if err := n.Machine.PowerOn(ctx); err != nil {
		return err
	}
	return n.Agent.Launch() //nolint:contextcheck // it lives on
}

// settleTime is how long the death of a daemon that was killed from inside takes to be known.
const settleTime = 10 * time.Second

// PowerOff switches a machine off: see [Machine.PowerOff].
func (n *Node) PowerOff(ctx context.Context) error { return n.off(ctx, n.Machine.PowerOff) }

// CutPower switches a machine off whose disk loses what was not synced: see
// [Machine.CutPower].
func (n *Node) CutPower(ctx context.Context) error { return n.off(ctx, n.Machine.CutPower) }

func (n *Node) off(ctx context.Context, off func() error) error {
	if err := off(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	return Poll(ctx, "the agent to be gone", func(context.Context) error {
		if n.Agent.Running() {
			return errors.New("it runs")
		}
		return nil
	})
}
