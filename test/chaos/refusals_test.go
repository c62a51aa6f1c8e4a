package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/peer"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// TestJoinRefused tries to join a cluster with everything but a good token. Each time the
// sentence says what is wrong, and nobody's nodes, volumes and files have changed. (That tokens
// expire is asked in internal/cluster: one lives for a minute at least.)
func TestJoinRefused(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, 2) // n1 and n2 are a cluster
	n1 := c.c.Nodes[0]
	joins, other, namesake := add(t, c, "n3"), add(t, c, "n4"), add(t, c, "n2") // a cluster of one each
	address := joinAddress(t, n1)
	used, foreign := token(t, n1), token(t, other)
	knowsItself(t, other)
	for _, tt := range []struct {
		name  string
		node  *lab.Node
		token func() string
		want  string // in small letters
	}{
		{"no token at all", joins, func() string { return "hello" }, "token"},
		{"a letter is another", joins, func() string { return misspelt(token(t, n1)) }, "token"},
		{"of another cluster", joins, func() string { return foreign }, "cluster"},
		{"a name that is taken", namesake, func() string { return token(t, n1) }, "n2"},
		{"a node that has volumes", withVolume(t, c, other), func() string { return token(t, n1) }, "volume"},
		{"a node of the cluster already", c.c.Nodes[1], func() string { return token(t, n1) }, "cluster"},
	} {
		before := nodes(t, n1) + nodes(t, tt.node) + files(t, n1, "ballast/identity") + files(t, tt.node, "ballast/identity", "ballast/volumes", "ballast/node")
		err := tryJoin(t, tt.node, tt.token(), address)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), tt.want) {
			t.Errorf("%s: %v; want a refusal that says %q", tt.name, err, tt.want)
		}
		after := nodes(t, n1) + nodes(t, tt.node) + files(t, n1, "ballast/identity") + files(t, tt.node, "ballast/identity", "ballast/volumes", "ballast/node")
		if after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", tt.name, before, after)
		}
		t.Logf("%s: %v", tt.name, err)
	}
	strangers(t, n1, other, used, address)
	if _, err := joins.Ballast(t.Context(), "join", used, address); err != nil {
		t.Fatalf("after all that, with a good token: %v", err)
	}
	if _, err := other.Ballast(t.Context(), "join", used, address); err == nil {
		t.Error("a token was good twice")
	}
}

// strangers ask for what no program of this release asks for: all lab machines have one
// clock, and one version. Their token is not spent by that.
func strangers(t *testing.T, n1, from *lab.Node, text, address string) {
	t.Helper()
	token, err := identity.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := key.Request()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		version int
		clock   time.Duration
		want    string
	}{
		{"a clock an hour ahead", 1, time.Hour, "clock is 1h0m0s ahead"},
		{"a clock an hour behind", 1, -time.Hour, "clock is 1h0m0s behind"},
		{"a version that is too old", 0, 0, "version"},
		{"a version that is too new", 1000, 0, "version"},
	} {
		before := nodes(t, n1)
		body, err := json.Marshal(map[string]any{
			"version": tt.version, "release": "another", "token": token.ID, "secret": token.Secret.Reveal(), "node": "stranger",
			"address": from.Address + ":7420", "request": request, "time": time.Now().Add(tt.clock),
		})
		if err != nil {
			t.Fatal(err)
		}
		status, said := post(t, from, address, body)
		if status == http.StatusOK || !strings.Contains(said, tt.want) {
			t.Errorf("%s: status %d, %s; want a refusal that says %q", tt.name, status, said, tt.want)
		}
		if after := nodes(t, n1); after != before {
			t.Errorf("%s: nodes before:\n%s\nafter:\n%s", tt.name, before, after)
		}
		t.Logf("%s: %s", tt.name, said)
	}
}

// post asks to join from a machine, and returns what it is told.
func post(t *testing.T, from *lab.Node, address string, body []byte) (status int, said string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := from.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			//nolint:gosec // a stranger knows nobody's authority
			return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13}), nil
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://cluster"+peer.JoinPath, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// files are what a machine has below some of its folders, with hashes. What is logged does not count.
func files(t *testing.T, n *lab.Node, below ...string) string {
	t.Helper()
	var all strings.Builder
	for _, top := range below {
		err := filepath.WalkDir(n.Outside(n.Path(top)), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, "engine.log") {
				return err
			}
			content, err := os.ReadFile(path)
			fmt.Fprintf(&all, "%s %x\n", strings.TrimPrefix(path, n.Root()), sha256.Sum256(content))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// knowsItself waits until a node that has made its first token has stored what it needs to
// know of its cluster: it does so a moment later.
func knowsItself(t *testing.T, n *lab.Node) {
	t.Helper()
	err := lab.Poll(t.Context(), "the node to store who is in its cluster", func(context.Context) error {
		stored, err := os.ReadFile(n.Outside(n.Path("ballast/identity/cluster.json")))
		if err == nil && !bytes.Contains(stored, []byte(`"peers"`)) {
			err = errors.New("it has stored nobody yet")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tryJoin asks again while the node is not ready to answer.
func tryJoin(t *testing.T, n *lab.Node, token, address string) (err error) {
	t.Helper()
	const notReady = "exit status 5"
	if perr := lab.Poll(t.Context(), "an answer", func(ctx context.Context) error {
		if _, err = n.Ballast(ctx, "join", token, address); err != nil && strings.Contains(err.Error(), notReady) {
			return err
		}
		return nil
	}); perr != nil {
		t.Fatal(perr)
	}
	return err
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
func token(t *testing.T, n *lab.Node) string {
	t.Helper()
	out, err := n.Ballast(t.Context(), "token", "create")
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

func withVolume(t *testing.T, c *campaign, n *lab.Node) *lab.Node {
	t.Helper()
	if _, err := c.api(n).Create(t.Context(), "mine", map[string]string{"size": "64M"}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAttachRefused leaves only a copy that lacks some of what was acknowledged: the node
// that has it refuses the volume, says what to type, and changes nothing; when the primary is
// back, nothing is lost. The next time the operator forces it: the record says so, and what is
// lost is what was said.
func TestAttachRefused(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, 3)
	if err := c.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := leaveStale(t, c)
	refused(t, r)
	if err := r.primary.PowerOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, err := r.takeOverAt(t.Context(), r.follower)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(next.awaitAcks(t.Context(), 5), r.judge(next)); err != nil {
		t.Fatal(err)
	}

	c.user = next
	r = leaveStale(t, c)
	refused(t, r)
	said, err := r.follower.Ballast(t.Context(), "volume", "failover", volumeName, "--force", "--yes")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("forced: %s", said)
	if next, err = r.takeOverAt(t.Context(), r.follower); err != nil {
		t.Fatal(err)
	}
	if err := next.awaitAcks(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := r.judge(next); !errors.Is(err, errWrong) {
		t.Errorf("the judge found nothing wrong with what was lost by force: %v", err)
	}
	v, err := c.api(r.follower).Inspect(t.Context(), volumeName)
	if err != nil || len(v.GetForced()) != 1 || v.GetForced()[0].GetTo() != r.follower.Name {
		t.Errorf("the record says %v of what was forced, %v", v.GetForced(), err)
	}
	// The copy of the former primary has what nobody wants any more: it goes.
	if err := r.primary.PowerOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := &round{campaign: c, primary: r.follower, user: next, number: 1}
	last.compare = 1
	if _, err := last.awaitWell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := last.compareSometimes(t.Context()); err != nil {
		t.Error(err)
	}
	next.kill()
}

// leaveStale takes the follower away, lets the user go on, and then swaps them: the primary
// is away, and the follower is back with what it had.
func leaveStale(t *testing.T, c *campaign) *round {
	t.Helper()
	r := &round{campaign: c, primary: c.user.node, user: c.user}
	v, err := r.awaitWell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.follower = c.c.Node(otherThan(agentapi.InSync(v), r.primary.Name))
	for _, do := range []func(context.Context) error{
		r.follower.PowerOff,
		r.awaitWithout,
		func(ctx context.Context) error { return r.user.awaitAcks(ctx, 50) },
		r.primary.PowerOff,
		r.follower.PowerOn,
	} {
		if err := do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// refused asks for the volume where it must not be had. What the first to ask finds may have
// to be read in and recovered, after a crash; who asks again changes nothing.
func refused(t *testing.T, r *round) {
	t.Helper()
	refusedOnce(t, r)
	before := recordOf(t, r) + files(t, r.follower, "ballast/volumes/"+r.id)
	refusedOnce(t, r)
	if after := recordOf(t, r) + files(t, r.follower, "ballast/volumes/"+r.id); after != before {
		t.Errorf("before it was refused:\n%s\nafter:\n%s", before, after)
	}
}

func refusedOnce(t *testing.T, r *round) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), backLimit)
	defer cancel()
	err := lab.Poll(ctx, "a refusal", func(ctx context.Context) error {
		_, err := r.api(r.follower).Attach(ctx, volumeName, "refused")
		if err == nil {
			return lab.Hopeless(errors.New("attached a copy that lacks what was acknowledged"))
		}
		if !strings.Contains(err.Error(), "ballast volume failover "+volumeName) {
			return fmt.Errorf("it says %w", err)
		}
		t.Logf("refused: %v", err)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := r.follower.Ballast(t.Context(), "volume", "failover", volumeName)
	t.Logf("the plan: %s %v", plan, err)
}

// recordOf is what is kept of a volume, as its only node says that is up.
func recordOf(t *testing.T, r *round) (text string) {
	t.Helper()
	err := lab.Poll(t.Context(), "the volume's record", func(ctx context.Context) error {
		v, err := r.api(r.follower).Inspect(ctx, volumeName)
		text = fmt.Sprintln(v.GetEpoch(), v.GetPrimary(), agentapi.InSync(v), v.GetForced(), v.GetSizeBytes())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestDiskFull asks a node without room for a copy of its own.
func TestDiskFull(t *testing.T) {
	t.Parallel()
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
