package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testCluster is an authority, and who is in the cluster.
type testCluster struct {
	t         *testing.T
	authority *identity.Authority

	mu     sync.Mutex // guards everything below
	nodes  map[ballast.NodeID]uint64
	tokens map[string]identity.TokenHash
	err    error // of everything that is asked of the registry
	served []string
}

func newTestCluster(t *testing.T) *testCluster {
	t.Helper()
	a, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	return &testCluster{t: t, authority: a, nodes: map[ballast.NodeID]uint64{}, tokens: map[string]identity.TokenHash{}}
}

// enter makes node one of the cluster, and returns its credentials and where they are.
func (c *testCluster) enter(node ballast.NodeID) (*identity.Credentials, vfs.FS) {
	c.mu.Lock()
	c.nodes[node]++
	generation := c.nodes[node]
	c.mu.Unlock()
	return c.credentials(node, generation, time.Hour)
}

func (c *testCluster) credentials(node ballast.NodeID, generation uint64, lifetime time.Duration) (*identity.Credentials, vfs.FS) {
	c.t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		c.t.Fatal(err)
	}
	return c.open(identity.Folder{
		Cluster: identity.Cluster{ID: c.authority.Cluster(), Node: node, Generation: generation},
		CA:      c.authority.Certificate(), Certificate: c.sign(key, node, generation, lifetime), Key: key,
	})
}

func (c *testCluster) open(f identity.Folder) (*identity.Credentials, vfs.FS) {
	c.t.Helper()
	disk, err := vfs.OS(c.t.TempDir())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { disk.Close() })
	if err := identity.Save(disk, identity.Dir, f); err != nil {
		c.t.Fatal(err)
	}
	own, err := identity.Open(disk, identity.Dir)
	if err != nil {
		c.t.Fatal(err)
	}
	return own, disk
}

func (c *testCluster) sign(key identity.Key, node ballast.NodeID, generation uint64, lifetime time.Duration) []byte {
	c.t.Helper()
	request, err := key.Request()
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := c.authority.Sign(request, node, generation, []string{"127.0.0.1"}, lifetime)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert
}

func (c *testCluster) known(node ballast.NodeID) (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	generation, ok := c.nodes[node]
	return generation, ok
}

func (c *testCluster) remove(node ballast.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.nodes, node)
}

func (c *testCluster) token() identity.Token {
	token := identity.NewToken(c.authority.Digest())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[token.ID] = token.Hash()
	return token
}

// Authority implements [Registry].
func (c *testCluster) Authority(context.Context) (*identity.Authority, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authority, c.err
}

// Admit implements [Registry].
func (c *testCluster) Admit(_ context.Context, a Admission) (uint64, []identity.Address, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hash, ok := c.tokens[a.Token]
	switch {
	case c.err != nil:
		return 0, nil, c.err
	case !ok || !hash.Equal(a.Hash):
		return 0, nil, fmt.Errorf("no such token: %w", ballast.ErrNotFound)
	case c.nodes[a.Node] != 0:
		return 0, nil, fmt.Errorf("there is a node called %q already: %w", a.Node, ballast.ErrExists)
	}
	delete(c.tokens, a.Token)
	c.nodes[a.Node] = 1
	return 1, []identity.Address{{Node: "n1", Address: "127.0.0.1:1", Generation: 1}}, nil
}

func (c *testCluster) state() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.nodes, slices.Sorted(maps.Keys(c.tokens)))
}

// note remembers what reached a handler.
func (c *testCluster) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served = append(c.served, what)
}

func (c *testCluster) takeServed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	served := c.served
	c.served = nil
	return served
}

// serve runs a server for own until the test ends, and returns its address.
func (c *testCluster) serve(own *identity.Credentials) string {
	return c.serveWith(own, slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func (c *testCluster) serveWith(own *identity.Credentials, log *slog.Logger) string {
	c.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(c.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	join := JoinHandler(c, log)
	s := NewServer(Config{
		Own: own, Nodes: c.known, Log: log,
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, _ := From(r.Context())
			c.note("http " + string(who.Name) + " " + r.URL.Path)
			_, _ = io.WriteString(w, "hello "+string(who.Name)) // the client looks
		}),
		Join: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.note("join")
			join.ServeHTTP(w, r)
		}),
		Streams: map[string]func(context.Context, net.Conn, identity.Node){
			ProtocolReplica: func(ctx context.Context, conn net.Conn, node identity.Node) {
				c.note("stream " + string(node.Name))
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				_, _ = io.WriteString(conn, "hello "+string(node.Name)) // likewise
				_, _ = io.Copy(io.Discard, conn)                        // until it is closed
			},
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("serve: %v", err)
		}
		s.mu.Lock() // a connection's goroutine may be ending still
		defer s.mu.Unlock()
		if left := len(s.conns); left > 0 {
			c.t.Errorf("%d connections are left", left)
		}
	})
	return l.Addr().String()
}

// readHello reads a stream's greeting.
func readHello(conn net.Conn) (string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	p := make([]byte, 64)
	n, err := conn.Read(p)
	return string(p[:n]), err
}

func get(ctx context.Context, client *http.Client, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://node"+path, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("status %d: %s", response.StatusCode, strings.TrimSpace(string(body))))
	}
	return string(body), err
}

func always(address string) func() (string, error) {
	return func() (string, error) { return address, nil }
}
