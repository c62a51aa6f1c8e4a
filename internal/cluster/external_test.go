package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/vfs"
)

// foreign is an etcd that is not ours: a real one, reached over TLS by who has a certificate.
type foreign struct {
	ring *ring
	etcd *etcd
	at   External
}

func startForeign(t *testing.T) *foreign {
	t.Helper()
	r := newRing(t)
	host := r.add("etcd")
	e, err := startEtcd(t.Context(), memberSpec{dir: filepath.Join(host.dir, "records"), node: host.name, peering: host.peering()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p := host.peering()
	info := p.tls()
	config, err := info.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"h2"}
	l, err := tls.Listen("tcp", host.address, config)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: e.handler, ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }() // ends when it is closed
	t.Cleanup(func() {
		_ = e.stop(context.Background()) // the test is over
		_ = server.Close()               // likewise
		<-done
	})
	if err := e.waitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &foreign{r, e, External{Endpoints: []string{p.url()}, CAFile: p.CAFile, CertFile: p.CertFile, KeyFile: p.KeyFile}}
}

// start runs a node whose records are in it, without an identity, until the test ends.
func (f *foreign) start(t *testing.T, name ballast.NodeID) *Records {
	t.Helper()
	disk, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := Open(Config{Dir: t.TempDir(), View: disk, Node: name, Log: slog.New(slog.NewTextHandler(t.Output(), nil)).With("at", name), Lease: time.Second, External: &f.at})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, disk.Close()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, string(name)+" is ready", func() error {
		if ready, err := r.Ready(); !ready {
			return errors.Join(errors.New("not ready"), err)
		}
		return nil
	})
	return r
}

// joined is what a node has once it has an identity.
func (f *foreign) joined(name ballast.NodeID) Peering {
	p := *f.ring.add(name).peering()
	return p
}

// dump returns all that is there.
func (f *foreign) dump(t *testing.T) map[string]string {
	t.Helper()
	items, _, err := etcdKeys{f.etcd.client}.list(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, it := range items {
		all[it.key] = string(it.value)
	}
	return all
}

// attempts are all the ways to change something.
func attempts(t *testing.T, r *Records, held Record) map[string]error {
	t.Helper()
	ctx := t.Context()
	id, own := held.ID, r.cfg.Node
	tried := map[string]error{}
	_, tried["create"] = r.Create(ctx, "other", nil)
	_, tried["claim"] = r.Claim(ctx, id, ClaimRequest{})
	_, tried["claim hollow"] = r.Claim(ctx, id, ClaimRequest{Hollow: true})
	_, tried["claim by force"] = r.Claim(ctx, id, ClaimRequest{Force: &Forced{}})
	_, tried["set copies"] = r.SetCopies(ctx, id, CopiesChange{Add: own})
	_, tried["change in-sync"] = r.ChangeInSync(ctx, id, addOf(held, own), replica.Branch{})
	_, tried["put itself"] = r.PutNode(ctx, Node{Name: own, Address: "10.0.0.9:1"})
	_, tried["put another"] = r.PutNode(ctx, Node{Name: "n7", Address: "10.0.0.7:1"})
	_, tried["drain"] = r.SetDraining(ctx, "n1", true)
	tried["remove node"] = r.RemoveNode(ctx, "n1")
	tried["token"] = r.PutToken(ctx, "abc", []byte("x"), time.Minute)
	_, tried["begin a cluster"] = r.Found(ctx, []byte("own authority"), Node{Name: own, Address: "10.0.0.9:1"})
	session, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_ = r.KeepSession(session, SessionConfig{Lease: time.Second, Boot: func() time.Duration { return time.Since(ringStart) + time.Hour }, OnRenewed: func(uint64, time.Duration) { // ends with its context
		t.Error("it has a session")
	}})
	return tried
}

// In an etcd that is not ours a node changes nothing before it has joined, and nothing once it
// was removed (C13).
func TestStrangersChangeNothing(t *testing.T) {
	f := startForeign(t)
	n1, n2 := f.start(t, "n1"), f.start(t, "n2")
	if _, err := n1.Create(t.Context(), "early", nil); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("a node without a cluster creates a volume: %v", err)
	}
	if _, err := n1.Found(t.Context(), []byte("authority"), Node{Name: "n1", Address: "10.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	n1.SetPeering(f.joined("n1"))
	made, err := n1.Create(t.Context(), "db", nil)
	if err != nil {
		t.Fatal(err)
	}
	held, err := n1.Claim(t.Context(), made.ID, ClaimRequest{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 sees the volume", func() error { _, err := n2.ByID(held.ID); return err })

	f.refused(t, "before it has joined", n2, held)

	if err := n1.PutToken(t.Context(), "abc", []byte("hash"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := n1.Admit(t.Context(), "abc", func([]byte) error { return nil }, Node{Name: "n2", Address: "10.0.0.2:1"}); err != nil {
		t.Fatal(err)
	}
	n2.SetPeering(f.joined("n2"))
	eventually(t, "n2 works", func() error { _, err := n2.Create(t.Context(), "web", nil); return err })

	if err := n1.RemoveNode(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	f.refused(t, "once it was removed", n2, held)
}

// refused tries everything, and asks that nothing has changed.
func (f *foreign) refused(t *testing.T, when string, r *Records, held Record) {
	t.Helper()
	before := f.dump(t)
	for what, err := range attempts(t, r, held) {
		if err == nil {
			t.Errorf("%s: %s is not refused", when, what)
		}
	}
	if after := f.dump(t); !maps.Equal(before, after) {
		t.Errorf("%s: %v became %v", when, before, after)
	}
}

// Of nodes that begin a cluster at once one does; asked again it is told the same.
func TestOneBeginsACluster(t *testing.T) {
	f := startForeign(t)
	names := nodes("n1", "n2", "n3")
	errs := make([]error, len(names))
	var running sync.WaitGroup
	records := make([]*Records, len(names))
	for i, name := range names {
		records[i] = f.start(t, name)
	}
	found := func(i int) error {
		_, err := records[i].Found(t.Context(), []byte("authority of "+names[i]), Node{Name: names[i], Address: net.JoinHostPort("10.0.0.1", "1")})
		return err
	}
	for i := range names {
		running.Go(func() { errs[i] = found(i) })
	}
	running.Wait()
	won := 0
	for i, err := range errs {
		switch again := found(i); {
		case err == nil && again == nil:
			won++
		case !errors.Is(err, ballast.ErrExists) || !errors.Is(again, ballast.ErrExists):
			t.Errorf("%s: %v, and asked again %v", names[i], err, again)
		}
	}
	if won != 1 || len(records[0].Nodes()) > 1 {
		t.Errorf("%d began a cluster of %+v; want one", won, records[0].Nodes())
	}
}
