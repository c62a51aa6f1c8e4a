package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// TestJoinRefused tries to join a cluster with everything but a good token. Each time the
// sentence says what is wrong, and nobody's nodes have changed.
func TestJoinRefused(t *testing.T) {
	c := newCampaign(t, 2) // n1 and n2 are a cluster
	n1 := c.c.Nodes[0]
	joins, other, namesake := add(t, c, "n3"), add(t, c, "n4"), add(t, c, "n2") // a cluster of one each
	address := joinAddress(t, n1)
	used := token(t, n1)
	for _, tt := range []struct {
		name  string
		node  *lab.Node
		token func() string
		want  string // in small letters
	}{
		{"no token at all", joins, func() string { return "hello" }, "token"},
		{"a letter is another", joins, func() string { return misspelt(token(t, n1)) }, "token"},
		{"of another cluster", joins, func() string { return token(t, other) }, "cluster"},
		{"expired", joins, func() string { return expired(t, n1) }, "token"},
		{"a name that is taken", namesake, func() string { return token(t, n1) }, "n2"},
		{"a node that has volumes", withVolume(t, c, other), func() string { return token(t, n1) }, "volume"},
		{"a node of the cluster already", c.c.Nodes[1], func() string { return token(t, n1) }, "cluster"},
	} {
		before := nodes(t, n1) + nodes(t, tt.node)
		_, err := tt.node.Ballast(t.Context(), "join", tt.token(), address)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), tt.want) {
			t.Errorf("%s: %v; want a refusal that says %q", tt.name, err, tt.want)
		}
		if after := nodes(t, n1) + nodes(t, tt.node); after != before {
			t.Errorf("%s: nodes before:\n%s\nafter:\n%s", tt.name, before, after)
		}
		t.Logf("%s: %v", tt.name, err)
	}
	if _, err := joins.Ballast(t.Context(), "join", used, address); err != nil {
		t.Fatalf("after all that, with a good token: %v", err)
	}
	if _, err := other.Ballast(t.Context(), "join", used, address); err == nil {
		t.Error("a token was good twice")
	}
}

func add(t *testing.T, c *campaign, name string) *lab.Node {
	t.Helper()
	n, err := c.c.Add(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// nodes are the names of the nodes that a node knows, one per line.
func nodes(t *testing.T, n *lab.Node) string {
	t.Helper()
	out, err := n.Ballast(t.Context(), "node", "ls")
	if err != nil {
		t.Fatal(err)
	}
	var names strings.Builder
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(line, " ")
		names.WriteString(name + "\n")
	}
	return names.String()
}

// token makes a token on a node.
func token(t *testing.T, n *lab.Node, args ...string) string {
	t.Helper()
	out, err := n.Ballast(t.Context(), append([]string{"token", "create"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	token, _, ok := lab.JoinLine(out)
	if !ok {
		t.Fatalf("token create said nothing to paste: %s", out)
	}
	return token
}

func joinAddress(t *testing.T, n *lab.Node) string {
	t.Helper()
	out, err := n.Ballast(t.Context(), "token", "create")
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := lab.JoinLine(out)
	return address
}

func misspelt(token string) string {
	last := "a"
	if strings.HasSuffix(token, last) {
		last = "b"
	}
	return token[:len(token)-1] + last
}

// expired is a token whose time is over.
func expired(t *testing.T, n *lab.Node) string {
	t.Helper()
	text := token(t, n, "--ttl", "1s")
	timer := time.NewTimer(4 * time.Second) // etcd ends leases of a second within two
	defer timer.Stop()
	<-timer.C
	return text
}

func withVolume(t *testing.T, c *campaign, n *lab.Node) *lab.Node {
	t.Helper()
	if _, err := c.api(n).Create(t.Context(), "mine", map[string]string{"size": "64M"}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAttachRefused takes every in-sync copy away: the node that is left refuses the
// volume, says where it is and what to type, and changes nothing; forced, it goes on, and
// the record says so.
func TestAttachRefused(t *testing.T) {
	c := newCampaign(t, 3)
	if err := c.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &round{campaign: c, primary: c.user.node, user: c.user}
	v, err := r.awaitWell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var left *lab.Node
	for _, n := range c.c.Nodes {
		if !inSync(v, n) {
			left = n
		}
	}
	if left == nil {
		t.Fatalf("everybody is in sync, and two copies were asked for: %v", agentapi.InSync(v))
	}
	// Cut off from the copies, but not both at once: etcd keeps its quorum, and the
	// primary keeps its volume.
	follower := c.c.Node(otherThan(agentapi.InSync(v), r.primary.Name))
	if err := errors.Join(r.primary.PowerOff(t.Context()), c.c.Cut(t.Context(), left, follower)); err != nil {
		t.Fatal(err)
	}
	_, err = c.api(left).Attach(t.Context(), volumeName, "refused")
	if err == nil {
		t.Fatal("attached without a copy that could be reached")
	}
	t.Logf("refused: %v", err)
	if err := errors.Join(c.c.Heal(t.Context()), r.primary.PowerOn(t.Context())); err != nil {
		t.Fatal(err)
	}
	next, err := r.takeOverAt(t.Context(), follower)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(next.awaitAcks(t.Context(), 5), r.judge(next)); err != nil {
		t.Error(err)
	}
	next.kill()
}

// TestDiskFull asks a node without room for a copy of its own.
func TestDiskFull(t *testing.T) {
	c := newCampaign(t, 1)
	n := c.c.Nodes[0]
	if err := n.FillDisk(64 << 10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := c.api(n).Create(ctx, volumeName, map[string]string{"size": "64M"})
	if err == nil {
		_, err = c.api(n).Attach(ctx, volumeName, "full")
	}
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), "space") && !strings.Contains(strings.ToLower(err.Error()), "full") {
		t.Errorf("on a full disk: %v", err)
	}
	if err := n.FreeDisk(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.api(n).Create(ctx, "other", map[string]string{"size": "64M"}); err != nil {
		t.Error(err)
	}
}
