package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/vfs"
)

// foreignEtcd runs an etcd that no node keeps, reached by who has a certificate, and returns what is
// said of it to every node.
func foreignEtcd(t *testing.T) (more []string) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.%d.9:0", networkOf(t)))
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), l.Addr().String()
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := identity.NewAuthority(identity.NewClusterID())
	if err != nil {
		t.Fatal(err)
	}
	folder, err := folderOf(authority, cluster.Node{Name: "etcd", Address: address, Generation: 1}, address, address)
	if err := errors.Join(err, identity.Save(disk, identity.Dir, folder)); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, identity.Dir, name) }
	r := cluster.Open(cluster.Config{
		Dir: filepath.Join(dir, "records"), View: disk, Node: "etcd", Log: slog.New(slog.DiscardHandler),
		Peering: &cluster.Peering{Address: address, CertFile: file(identity.CertFile), KeyFile: file(identity.KeyFile), CAFile: file(identity.CAFile)},
	})
	pair, err := tls.LoadX509KeyPair(file(identity.CertFile), file(identity.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert}
	server := &http.Server{Handler: r.Handler(), TLSConfig: config, ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	ctx, cancel := context.WithCancel(context.Background())
	done, served := make(chan error, 1), make(chan struct{})
	go func() { done <- r.Run(ctx) }()
	go func() { defer close(served); _ = server.ServeTLS(l, "", "") }() // ends when it is closed
	t.Cleanup(func() {
		cancel()
		_ = server.Close() // the test is over
		<-served
		if err := errors.Join(<-done, disk.Close()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the foreign etcd", func() bool { ready, _ := r.Ready(); return ready })
	return []string{"etcd=https://" + address, "etcd-ca=" + file(identity.CAFile), "etcd-cert=" + file(identity.CertFile), "etcd-key=" + file(identity.KeyFile)}
}

// Two agents whose records are in an etcd that is not theirs: one begins the cluster, the other has to
// join it; a volume is written on one and goes on on the other; the first comes back, is removed, and joins
// again; and nobody keeps an etcd of their own.
func TestExternalEtcdOfProcesses(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes a while")
	}
	needRoot(t)
	more := foreignEtcd(t)
	n1 := startClusterAgent(t, 1, more...)
	t.Cleanup(func() { n1.kill(); sweepAll(t, n1.dir) })
	eventually(t, "n1 listening", func() bool { return listens(n1.address) })
	n2 := startClusterAgent(t, 2, more...)
	t.Cleanup(func() { n2.kill(); sweepAll(t, n2.dir) })

	// A second one is told, and changes nothing, until it has joined.
	eventually(t, "n2 saying that it is not in the cluster", func() bool { return slices.Contains(n2.conditions(), condNotJoined) })
	if _, err := n2.volumes.Create(t.Context(), connect.NewRequest(&v1.CreateRequest{Name: "foul"})); err == nil || !strings.Contains(err.Error(), "join") {
		t.Errorf("create on a node that is not in the cluster = %v", err)
	}
	if err := n2.join(n1.token()); err != nil {
		t.Fatal(err)
	}
	n2.ready()
	for _, a := range []*clusterAgent{n1, n2} {
		a.awaitUp("n1:up n2:up")
		eventually(t, "nothing being said", func() bool {
			c := a.conditions()
			return !slices.Contains(c, condNotJoined) && !slices.Contains(c, condQuorumAtRisk)
		})
	}

	create(t, n1, "db")
	at := n1.attach("db", "cli")
	n1.awaitCopy("db")
	for i := range 50 {
		writeSynced(t, filepath.Join(at, name(i)), acknowledged(i))
	}
	n1.crash()
	mustHaveAll(t, n2.attach("db", "cli"))
	n1.start()
	n1.awaitUp("n1:up n2:up")
	eventuallyWithin(t, time.Minute, "the first copy following", func() bool { return slices.Contains(n2.inSync("db"), "n1") })

	n1.kill()
	n2.awaitUp("n1:away n2:up")
	if _, err := n2.node.RemoveNode(t.Context(), connect.NewRequest(&v1.RemoveNodeRequest{Name: "n1", Force: true})); err != nil {
		t.Fatal(err)
	}
	n1.begin()
	eventually(t, "n1 saying that it was removed", func() bool { return slices.Contains(n1.conditions(), condRemoved) })
	if err := n1.join(n2.token()); err != nil {
		t.Fatal(err)
	}
	n1.ready()
	n2.awaitUp("n1:up n2:up")
	eventuallyWithin(t, time.Minute, "a copy on n1 again", func() bool { return slices.Contains(n2.inSync("db"), "n1") })
	for _, a := range []*clusterAgent{n1, n2} {
		if files, err := os.ReadDir(filepath.Join(a.dir, "records", "member")); err == nil {
			t.Errorf("%s keeps an etcd: %v", a.name, files)
		}
	}
}

// awaitUp is awaitNodes where no node keeps the records.
func (a *clusterAgent) awaitUp(want string) {
	a.t.Helper()
	got := ""
	for deadline := time.Now().Add(40 * time.Second); got != want; got = a.nodes() {
		if time.Now().After(deadline) {
			a.t.Fatalf("nodes as %s sees them = %s; want %s", a.name, got, want)
		}
		<-time.After(50 * time.Millisecond)
	}
}
