package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/vfs"
)

func testFolder(t *testing.T, address string) identity.Folder {
	t.Helper()
	a, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := sign(a, key, cluster.Node{Name: "n1", Generation: 1, Address: address})
	if err != nil {
		t.Fatal(err)
	}
	return identity.Folder{CA: a.Certificate(), Certificate: cert, Key: key, Cluster: identity.Cluster{ID: a.Cluster(), Node: "n1", Generation: 1, Listen: address, Address: address, Joined: true}}
}

// TestJoiningIsCutOff cuts the power before every operation of joining, several ways each, starts the node
// again, and asks that it is what it was or what it was to become, with its own records or without.
func TestJoiningIsCutOff(t *testing.T) {
	before, after := testFolder(t, "10.0.0.1:1"), testFolder(t, "10.0.0.2:2")
	errCut := errors.New("no power")
	for _, from := range []*identity.Folder{nil, &before} {
		for cut := 0; ; cut++ {
			disk := crashfs.New()
			if from != nil {
				if err := identity.Save(disk, identity.Dir, *from); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(disk.Mkdir(recordsDir), vfs.ReplaceFile(disk, recordsDir+"/own", nil), vfs.ReplaceFile(disk, viewFile, nil), disk.SyncDir(".")); err != nil {
				t.Fatal(err)
			}
			left := cut
			disk.FailWith(func(int, string) error {
				if left--; left < 0 {
					return errCut
				}
				return nil
			})
			err := beginJoining(disk, after)
			if err == nil {
				err = finishJoining(disk, forgetRecords(disk))
			}
			disk.FailWith(nil)
			for seed := range uint64(16) {
				again := disk.PowerCut(rand.New(rand.NewPCG(uint64(cut), seed)))
				if err := finishJoining(again, forgetRecords(again)); err != nil {
					t.Fatalf("cut=%d seed=%d: %v", cut, seed, err)
				}
				got, want := what(again), []string{what2(from, true), what2(&after, false)}
				if got != want[1] && (got != want[0] || err == nil) {
					t.Errorf("cut=%d seed=%d: the node is %s; want one of %q", cut, seed, got, want)
				}
			}
			if err == nil {
				break // every operation has had its turn
			}
		}
	}
}

func forgetRecords(disk vfs.FS) func(string) error {
	return func(dir string) error {
		if err := removeFile(disk, dir+"/own"); err != nil {
			return err
		}
		return disk.SyncDir(dir)
	}
}

// what says who the node on disk is, and whether it has its own records.
func what(disk vfs.FS) string {
	f, err := identity.Load(disk, identity.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err.Error()
	}
	_, own := disk.Open(recordsDir + "/own")
	_, view := disk.Open(viewFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprint("nobody ", own == nil, view == nil)
	}
	return fmt.Sprint(f.Cluster.ID, f.Check(), own == nil, view == nil)
}

func what2(f *identity.Folder, own bool) string {
	if f == nil {
		return fmt.Sprint("nobody ", own, own)
	}
	return fmt.Sprint(f.Cluster.ID, error(nil), own, own)
}

func TestWhoMayNotJoin(t *testing.T) {
	n, _ := testNode(t, newMachine(), t.TempDir())
	eventually(t, "the records", func() bool { ready, _ := n.records.Ready(); return ready })
	other := testFolder(t, "10.0.0.1:1")
	token := tokenOf(t, other)
	for _, bad := range []string{"", "BLST1-x", token.Reveal() + "x"} {
		if _, err := n.Join(t.Context(), bad, "127.0.0.1:1", ""); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("join with %q = %v; want ErrInvalid", bad, err)
		}
	}
	mustCreate(t, n, "db", nil)
	refused := func(why string) {
		t.Helper()
		_, err := n.Join(t.Context(), token.Reveal(), "127.0.0.1:1", "")
		if !errors.Is(err, ballast.ErrInUse) || !strings.Contains(err.Error(), why) {
			t.Errorf("Join = %v; want ErrInUse that says %q", err, why)
		}
		if n.network() != nil {
			t.Error("a refused join changed the node")
		}
	}
	refused(`volumes (1), such as "db"`)
	if _, err := n.Remove(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	refused(`volumes in the trash (1), such as "db"`)
	refused("to keep one: ballast volume restore db; to give them up: wait until ")
}

func tokenOf(t *testing.T, f identity.Folder) identity.Token {
	t.Helper()
	disk := crashfs.New()
	if err := identity.Save(disk, identity.Dir, f); err != nil {
		t.Fatal(err)
	}
	own, err := identity.Open(disk, identity.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return identity.NewToken(own.Digest())
}

// A node that cannot be reached, or that shows another authority, leaves the node as it was.
func TestJoinThatFailsChangesNothing(t *testing.T) {
	n, _ := testNode(t, newMachine(), t.TempDir())
	eventually(t, "the records", func() bool { ready, _ := n.records.Ready(); return ready })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Join(t.Context(), tokenOf(t, testFolder(t, "10.0.0.1:1")).Reveal(), address, address); err == nil {
		t.Error("a node joined nobody")
	}
	select {
	case <-n.joined:
		t.Error("the node goes on as another")
	default:
	}
	if _, err := vfs.ReadFile(n.disk, joiningFile, maxJoining); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("joining.json = %v", err)
	}
	if _, err := identity.Load(n.disk, identity.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("identity = %v", err)
	}
}

// The first token makes of a node the first one of a cluster; a later one changes nothing.
// Its certificate is renewed when it is due, and the secret is logged nowhere.
func TestFirstTokenAndRenewal(t *testing.T) {
	var log locked
	n := newTestNode(t, newMachine(), Config{DataDir: t.TempDir(), Archive: NoArchive, Advertise: "127.0.0.1", Listen: freePort(t)})
	n.log = slog.New(slog.NewTextHandler(&log, nil))
	runNode(t, n.Run)
	first, address, err := n.CreateToken(t.Context(), time.Minute, "")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the records coming back", func() bool { ready, _ := n.records.Ready(); return ready && len(n.records.Nodes()) == 1 })
	second, again, err := n.CreateToken(t.Context(), time.Minute, "")
	if err != nil || again != address || first.Authority != second.Authority || first.Secret == second.Secret {
		t.Errorf("second token = %v at %s, %v; want one of the same cluster at %s", second, again, err, address)
	}
	for _, ttl := range []time.Duration{time.Second, -time.Minute, 25 * time.Hour} {
		if _, _, err := n.CreateToken(t.Context(), ttl, ""); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("a token for %s = %v; want ErrInvalid", ttl, err)
		}
	}
	self, _ := n.records.Node("n1")
	own := n.network().own
	if n.renewalDue(time.Now(), self) || !n.renewalDue(time.Now().Add(identity.Lifetime/2), self) {
		t.Error("a certificate is due at half of its life, not before")
	}
	moved := self
	moved.Address = "10.1.1.1:1"
	if !n.renewalDue(time.Now(), moved) {
		t.Error("a certificate for another address is not due")
	}
	before := own.Certificate().Leaf.SerialNumber
	if err := n.renewFor(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	if own.Certificate().Leaf.SerialNumber.Cmp(before) == 0 {
		t.Error("the certificate was not renewed")
	}
	for _, token := range []identity.Token{first, second} {
		if strings.Contains(log.String(), token.Secret.Reveal()) {
			t.Error("a token's secret was logged")
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// locked is a buffer that several write to.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A node that was removed joins again while it still listens where it did.
func TestTryListen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	own := l.Addr().String()
	_, port, _ := net.SplitHostPort(own)
	for _, tt := range []struct {
		name, address, now string
		ok                 bool
	}{
		{"a free one", "127.0.0.2:" + port, "", true},
		{"one that is taken", own, "", false},
		{"its own", own, own, true},
		{"its own port at any address", ":" + port, own, true},
		{"its own port at any address of IPv4", "0.0.0.0:" + port, own, true},
		{"one that is taken, and another one is its own", own, "127.0.0.2:" + port, false},
		{"one that is taken, and another port is its own", own, "127.0.0.1:1", false},
		{"an address of another machine", "192.0.2.1:" + port, own, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tryListen(t.Context(), tt.address, tt.now); (err == nil) != tt.ok {
				t.Errorf("tryListen = %v; want it to be fine: %t", err, tt.ok)
			}
		})
	}
}
