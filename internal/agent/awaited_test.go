package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/replica/receiver"
	"github.com/ballast-io/ballast/internal/volume"
)

// A26: Docker's container could not have its volume, whose copies were away; when they are back, and not
// before, it is started. Who is no container of Docker's is nobody's to start.
func TestAwaitedIsStarted(t *testing.T) {
	m := newMachine()
	n, peers, _ := among(t, m)
	rec := adoptElsewhere(t, n, "n2")
	peers.set(func() { peers.err["n2"] = errors.New("cut off") })
	for _, holder := range []string{"a", dockerHolder + "a"} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := n.Attach(ctx, "db", holder); err == nil {
			t.Fatal("attached without a copy")
		}
		cancel()
		if _, noted := n.awaited.due(time.Now())[rec.ID]; noted != strings.HasPrefix(holder, dockerHolder) {
			t.Fatalf("awaited by %q: %t", holder, noted)
		}
	}
	n.awaited.done(rec.ID, false, false)
	peers.set(func() {
		delete(peers.err, "n2")
		peers.points["n2"] = receiver.Point{LSN: 9, Size: 64 << 20, Lineage: volume.Lineage{{Epoch: 2, From: 1}}}
	})
	eventually(t, "starting who waits", func() bool { return m.count("start users of db") == 1 })
	eventually(t, "forgetting it", func() bool { n.awaited.mu.Lock(); defer n.awaited.mu.Unlock(); return len(n.awaited.set) == 0 })
}

// What was killed because the volume was fenced is started when the node may have it again.
func TestKilledIsStarted(t *testing.T) {
	m := newMachine()
	n, _, _ := among(t, m)
	mustCreate(t, n, "db", nil)
	mustAttach(t, n, "db", dockerHolder+"a")
	rec, err := n.records.Get("db")
	if err != nil {
		t.Fatal(err)
	}
	s := n.slot(rec.ID)
	m.set(func() {
		for _, d := range m.devices {
			d.busy = true
		}
	})
	n.evict(t.Context(), s, s.current(), "two leases were over")
	eventually(t, "starting what was killed", func() bool { return m.count("start users of db web of db") == 1 })
}

// That a volume was fenced is said until its copy has everything again, or is none.
func TestFencedEnds(t *testing.T) {
	n, _, _ := among(t, newMachine())
	for _, tt := range []struct {
		name           string
		inSync, copies []ballast.NodeID
		ends           bool
	}{
		{"the copy follows", []ballast.NodeID{"n2"}, []ballast.NodeID{"n1", "n2"}, false},
		{"in sync again", []ballast.NodeID{"n1", "n2"}, []ballast.NodeID{"n1", "n2"}, true},
		{"there is no copy here any more", []ballast.NodeID{"n2"}, []ballast.NodeID{"n2"}, true},
	} {
		rec, err := n.records.Adopt(t.Context(), cluster.Record{ID: cluster.NewVolumeID(), Name: strings.ReplaceAll(tt.name, " ", "-"), Spec: ballast.DefaultVolumeSpec(), Epoch: 4, InSync: tt.inSync, Copies: tt.copies, Formatted: true})
		if err != nil {
			t.Fatal(err)
		}
		n.health.raise(rec.ID, condFenced, "it was taken away", "nothing")
		eventually(t, "a session", n.mayClaim)
		n.endFenced(n.slot(rec.ID))
		if got := !n.health.holds(rec.ID, condFenced); got != tt.ends {
			t.Errorf("%s: ended %t; want %t", tt.name, got, tt.ends)
		}
	}
}

// Of another node that is up it is known until when its certificate is good: that one says so.
func TestCertificateOfAnother(t *testing.T) {
	n, peers, _ := among(t, newMachine())
	v := nodeView{Node: cluster.Node{Name: "n2"}, state: nodeUp}
	n.learnCertificate(t.Context(), &v)
	if v.certificateUntil.IsZero() {
		t.Error("it is not known")
	}
	peers.set(func() { peers.err["n2"] = errors.New("cut off") })
	v = nodeView{Node: cluster.Node{Name: "n2"}, state: nodeUp}
	n.learnCertificate(t.Context(), &v)
	if !v.certificateUntil.IsZero() {
		t.Error("it is known of a node that does not answer")
	}
}

func TestSayAttached(t *testing.T) {
	for _, tt := range []struct {
		holders []string
		want    string
	}{
		{nil, "ballast volume move db n2"},
		{[]string{}, "being detached"},
		{[]string{"cli"}, "held by cli; node n2 has all of it, and takes it over when you type: ballast volume move db n2"},
		{[]string{"cli", "docker:8f1d"}, "used by containers of Docker's there; node n2 has all of it: stop them, and start them on n2; `docker ps --filter volume=db`"},
	} {
		if got := sayAttached("db", "n2", tt.holders); !strings.Contains(got, tt.want) {
			t.Errorf("held by %q: %q; want %q in it", tt.holders, got, tt.want)
		}
	}
}

func TestPassesByItself(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{ballast.ErrNotReady, true},
		{ballast.ErrNoCopy, true},
		{ballast.ErrUnknown, true},
		{context.DeadlineExceeded, true},
		{context.Canceled, false},
		{ballast.ErrNotFound, false},
		{fmt.Errorf("held: %w: %w", ballast.ErrInUse, context.DeadlineExceeded), false},
		{errors.New("no such filesystem"), false},
	} {
		if got := passesByItself(fmt.Errorf("attach: %w", tt.err)); got != tt.want {
			t.Errorf("%v passes by itself: %t; want %t", tt.err, got, tt.want)
		}
	}
}

func TestProspectBeside(t *testing.T) {
	for _, tt := range []struct {
		name  string
		there *v1.Volume
		want  prospect
	}{
		{"does not answer", nil, prospectWait},
		{"in use", &v1.Volume{State: "attached", Holders: []string{"docker:x"}}, prospectOver},
		{"about to be", &v1.Volume{State: "attaching"}, prospectWait},
		{"tended", &v1.Volume{State: "detached"}, prospectStart},
	} {
		if got := prospectBeside(tt.there); got != tt.want {
			t.Errorf("%s: %d; want %d", tt.name, got, tt.want)
		}
	}
}

// Tries that fail come less and less often; whoever only waits is looked at as often as ever.
func TestAwaitedPauses(t *testing.T) {
	var w awaited
	w.add("v", []string{"web"})
	now := time.Now()
	if got := w.due(now); len(got) != 1 || !slices.Equal(got["v"].killed, []string{"web"}) {
		t.Fatalf("due = %v", got)
	}
	if got := w.due(now); len(got) != 0 {
		t.Errorf("due while it is tried = %v", got)
	}
	w.done("v", false, false)
	if got := w.due(time.Now()); len(got) != 1 {
		t.Errorf("due after waiting = %v", got)
	}
	for range 10 {
		w.done("v", false, true)
	}
	if got := w.due(time.Now().Add(maxAwaitedPause / 2)); len(got) != 0 {
		t.Errorf("due soon after many failures = %v", got)
	}
	if got := w.due(time.Now().Add(maxAwaitedPause)); len(got) != 1 {
		t.Errorf("due after the longest pause = %v", got)
	}
	w.done("v", true, true)
	if got := w.due(time.Now().Add(time.Hour)); len(got) != 0 {
		t.Errorf("due after its end = %v", got)
	}
}

// Exactly those containers are started that are to be kept running and wait for the volume.
func TestStartUsers(t *testing.T) {
	id := func(c string) string { return strings.Repeat(c, 64) }
	failed := `error while mounting volume '': attach volume \"v\": too few answer`
	containers := map[string]string{ // id → restart policy and error
		id("a"): `{"State":{"Error":"` + failed + `"},"HostConfig":{"RestartPolicy":{"Name":"always"}}}`,
		id("b"): `{"State":{"Error":"` + failed + `"},"HostConfig":{"RestartPolicy":{"Name":"no"}}}`,
		id("c"): `{"State":{"Error":""},"HostConfig":{"RestartPolicy":{"Name":"unless-stopped"}}}`, // stopped by its owner
		id("d"): `{"State":{"Error":""},"HostConfig":{"RestartPolicy":{"Name":"on-failure"}}}`,     // killed
		id("e"): `{"State":{"Error":"port is in use"},"HostConfig":{"RestartPolicy":{"Name":"always"}}}`,
		id("f"): `{"State":{"Error":"` + failed + `"},"HostConfig":{"RestartPolicy":{"Name":"always"}}}`, // another's volume
	}
	var list []string
	for c := range containers {
		volume := "v"
		if c == id("f") {
			volume = "v2"
		}
		list = append(list, `{"Id":"`+c+`","Names":["/`+c[:1]+`"],"Mounts":[{"Type":"volume","Name":"`+volume+`","Driver":"ballast"}]}`)
	}
	var started []string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containers/json", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("filters") != notRunningStatus || r.URL.Query().Get("all") != "1" {
			t.Errorf("asked for %s", r.URL)
		}
		fmt.Fprint(w, "["+strings.Join(list, ",")+"]")
	})
	mux.HandleFunc("GET /containers/{id}/json", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, containers[r.PathValue("id")]) })
	mux.HandleFunc("POST /containers/{id}/start", func(w http.ResponseWriter, r *http.Request) {
		started = append(started, r.PathValue("id")[:1])
		w.WriteHeader(http.StatusNoContent)
	})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(mux)
	server.Listener = l
	server.Start()
	defer server.Close()
	docker := dockerEngine{l.Addr().String()}
	got, err := docker.StartUsers(t.Context(), "v", []string{"d"})
	if want := []string{"a", "d"}; err != nil || !slices.Equal(got, want) || !slices.Equal(slices.Sorted(slices.Values(started)), want) {
		t.Errorf("StartUsers = %q, %v, having started %q; want %q", got, err, started, want)
	}
}
