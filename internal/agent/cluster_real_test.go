package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
)

// nodeAgent is the argument that makes of the test's binary an agent of a cluster.
const nodeAgent = "node-agent"

// runNodeAgent runs an agent with a data folder, a name, an address, for how long it keeps
// what is removed, and what else there is to say of it, as key=value.
func runNodeAgent(ctx context.Context, args []string, log *slog.Logger) error {
	keep, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	cfg := Config{
		DataDir: args[0], Node: ballast.NodeID(args[1]), Listen: args[2], Advertise: args[2], Lease: 2 * time.Second,
		ReplaceAfter: 20 * time.Second, TrashKeep: keep, Archive: NoArchive, ArchiveInterval: time.Second, Version: "1.0", Log: log,
	}
	for _, pair := range args[4:] {
		if err := cfg.say(pair); err != nil {
			return err
		}
	}
	return Run(ctx, cfg)
}

func (c *Config) say(pair string) error {
	key, value, _ := strings.Cut(pair, "=")
	switch key {
	case "archive":
		c.Archive = value
	case "password":
		c.ArchivePasswordFile = value
	case "forced":
		c.ForceNewCluster = true
		c.Confirm = func(_ context.Context, plan string) error { return os.WriteFile(value, []byte(plan), 0o600) }
	case "etcd":
		c.Etcd = []string{value}
	case "etcd-ca":
		c.EtcdCA = value
	case "etcd-cert":
		c.EtcdCert = value
	case "etcd-key":
		c.EtcdKey = value
	default:
		return fmt.Errorf("nobody knows %s", pair)
	}
	return nil
}

// clusterAgent is an agent of a cluster, in a process of its own on this machine.
type clusterAgent struct {
	t       *testing.T
	dir     string
	name    string
	address string
	keep    time.Duration // what is removed; 0: an hour
	more    []string      // of its configuration; see say
	cmd     *exec.Cmd
	http    *http.Client
	node    ballastv1connect.NodeServiceClient
	volumes ballastv1connect.VolumeServiceClient
	archive ballastv1connect.ArchiveServiceClient
}

// networks are the tests that have nodes, each by its place.
var networks struct {
	sync.Mutex
	tests []string
}

// networkOf returns a number for the addresses of a test's nodes, which are its own: a node that is
// away does not answer at its address, and nothing of another test may.
func networkOf(t *testing.T) int {
	networks.Lock()
	defer networks.Unlock()
	i := slices.Index(networks.tests, t.Name())
	if i < 0 {
		i = len(networks.tests)
		networks.tests = append(networks.tests, t.Name())
	}
	return i + 1
}

func startClusterAgent(t *testing.T, i int, more ...string) *clusterAgent {
	t.Helper()
	ip := fmt.Sprintf("127.0.%d.%d", networkOf(t), i)
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	a := &clusterAgent{t: t, dir: t.TempDir(), name: fmt.Sprintf("n%d", i), address: l.Addr().String(), more: more}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	a.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(a.dir, socketName))
	}}}
	a.node = ballastv1connect.NewNodeServiceClient(a.http, "http://agent")
	a.volumes = ballastv1connect.NewVolumeServiceClient(a.http, "http://agent")
	a.archive = ballastv1connect.NewArchiveServiceClient(a.http, "http://agent")
	a.start()
	t.Cleanup(a.kill)
	return a
}

func (a *clusterAgent) start() {
	a.t.Helper()
	a.begin()
	a.ready()
}

// prefixed logs lines with the name of who wrote them.
type prefixed struct {
	t    *testing.T
	name string
}

func (p prefixed) Write(data []byte) (int, error) {
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "WARNING: DATA RACE") { // it goes on, and is killed before it could say so at its end
			p.t.Errorf("%s has a data race; see below", p.name)
		}
		fmt.Fprintf(p.t.Output(), "%s: %s", p.name, line)
	}
	return len(data), nil
}

func (a *clusterAgent) ready() {
	a.t.Helper()
	eventually(a.t, a.name+" being ready", func() bool {
		st, err := a.node.Status(context.Background(), connect.NewRequest(&v1.StatusRequest{}))
		return err == nil && st.Msg.GetRecordsReady()
	})
}

func (a *clusterAgent) kill() {
	_ = a.cmd.Process.Kill() // or it has ended
	_ = a.cmd.Wait()         // by a signal
}

// nodes returns what the agent says of the nodes, as "n1:up:member n2:away".
func (a *clusterAgent) nodes() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := a.node.ListNodes(ctx, connect.NewRequest(&v1.ListNodesRequest{}))
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, k := range list.Msg.GetNodes() {
		word := k.GetName() + ":" + k.GetState()
		if k.GetMember() {
			word += ":member"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (a *clusterAgent) awaitNodes(want string) {
	a.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for got := ""; got != want; got = a.nodes() {
		if !strings.Contains(want, ":member") && withoutMembers(got) == want && strings.Count(got, ":member") == 1 {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("nodes as %s sees them = %s; want %s", a.name, got, want)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func withoutMembers(nodes string) string { return strings.ReplaceAll(nodes, ":member", "") }

func (a *clusterAgent) token() *v1.CreateTokenResponse {
	a.t.Helper()
	made, err := a.node.CreateToken(a.t.Context(), connect.NewRequest(&v1.CreateTokenRequest{}))
	if err != nil {
		a.t.Fatal(err)
	}
	return made.Msg
}

func (a *clusterAgent) join(token *v1.CreateTokenResponse) error {
	_, err := a.node.Join(a.t.Context(), connect.NewRequest(&v1.JoinRequest{Token: token.GetToken(), Address: token.GetAddress()}))
	return err
}

func (a *clusterAgent) conditions() (codes []string) {
	st, err := a.node.Status(a.t.Context(), connect.NewRequest(&v1.StatusRequest{}))
	if err != nil {
		return []string{err.Error()}
	}
	for _, c := range st.Msg.GetConditions() {
		codes = append(codes, c.GetCode())
	}
	return codes
}

// Three agents become a cluster, lose a node, remove one, and take it in again.
func TestClusterOfProcesses(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a minute")
	}
	n1, n2, n3 := startClusterAgent(t, 1), startClusterAgent(t, 2), startClusterAgent(t, 3)
	if _, err := net.Dial("tcp", n1.address); err == nil {
		t.Fatal("a node on its own listens before its first token")
	}
	token := n1.token()
	if token.GetAddress() != n1.address {
		t.Errorf("address = %s; want %s", token.GetAddress(), n1.address)
	}
	eventually(t, "listening", func() bool { return listens(n1.address) })
	if err := n2.join(token); err != nil {
		t.Fatal(err)
	}
	n2.ready()
	n1.awaitNodes("n1:up:member n2:up")
	n2.awaitNodes("n1:up:member n2:up")
	eventually(t, "the warning of two nodes", func() bool { return slices.Contains(n1.conditions(), condQuorumAtRisk) })

	// A token that was spent lets nobody in, and changes nothing.
	if err := n3.join(token); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("join with a spent token = %v", err)
	}
	if got := n3.nodes(); got != "n3:up:member" {
		t.Errorf("after a refusal n3 is %s", got)
	}
	if err := n3.join(n2.token()); err != nil { // any node makes tokens
		t.Fatal(err)
	}
	n3.ready()
	for _, a := range []*clusterAgent{n1, n2, n3} {
		a.awaitNodes("n1:up:member n2:up:member n3:up:member")
	}
	eventually(t, "the end of the warning", func() bool { return !slices.Contains(n1.conditions(), condQuorumAtRisk) })
	create(t, n3, "db")

	// All agents restart at once: no records until two of them see each other.
	for _, a := range []*clusterAgent{n1, n2, n3} {
		a.kill()
	}
	n1.begin()
	n2.begin()
	n3.begin()
	for _, a := range []*clusterAgent{n1, n2, n3} {
		a.ready()
		a.awaitNodes("n1:up:member n2:up:member n3:up:member")
	}

	// One is killed: the others go on, and say so.
	n3.kill()
	n1.awaitNodes("n1:up:member n2:up:member n3:away:member")
	eventually(t, "the warning of a node that is away", func() bool { return slices.Contains(n1.conditions(), condNodeAway) })
	create(t, n2, "web")

	// It is removed, and comes back not knowing so.
	if _, err := n1.node.RemoveNode(t.Context(), connect.NewRequest(&v1.RemoveNodeRequest{Name: "n3"})); err != nil {
		t.Fatal(err)
	}
	n1.awaitNodes("n1:up n2:up") // one of them keeps the records, whichever leads
	n3.begin()
	eventually(t, "n3 saying that it was removed", func() bool { return slices.Contains(n3.conditions(), condRemoved) })
	if got := withoutMembers(n1.nodes()); got != "n1:up n2:up" {
		t.Errorf("a removed node came back: %s", got)
	}

	// With a token it is one of them again.
	if err := n3.join(n1.token()); err != nil {
		t.Fatal(err)
	}
	n3.ready()
	for _, a := range []*clusterAgent{n1, n2, n3} {
		a.awaitNodes("n1:up:member n2:up:member n3:up:member")
	}
	eventually(t, "n3 knowing the volumes", func() bool {
		list, err := n3.volumes.List(context.Background(), connect.NewRequest(&v1.ListRequest{}))
		return err == nil && len(list.Msg.GetVolumes()) == 2
	})
}

// begin starts the agent without waiting for its records.
func (a *clusterAgent) begin() {
	a.t.Helper()
	a.cmd = exec.Command(os.Args[0], nodeAgent, a.dir, a.name, a.address, cmp.Or(a.keep, time.Hour).String())
	a.cmd.Args = append(a.cmd.Args, a.more...)
	a.cmd.Stdout, a.cmd.Stderr = prefixed{a.t, a.name}, prefixed{a.t, a.name}
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
}

func create(t *testing.T, a *clusterAgent, name string) {
	t.Helper()
	var err error
	eventually(t, "creating "+name, func() bool {
		_, err = a.volumes.Create(context.Background(), connect.NewRequest(&v1.CreateRequest{Name: name, Options: map[string]string{"size": "64M"}}))
		return err == nil || connect.CodeOf(err) != connect.CodeUnavailable
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listens reports whether TLS is answered at address.
func listens(address string) bool {
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}}).DialContext(context.Background(), "tcp", address)
	if err == nil {
		err = conn.Close()
	}
	return err == nil || !errors.Is(err, syscall.ECONNREFUSED)
}
