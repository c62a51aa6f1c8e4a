package agent

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeDocker answers as a Docker Engine does, on a socket, and notes what it is asked.
type fakeDocker struct {
	list string // the answer to GET /containers/json
	fail string // killing this one fails

	mu    sync.Mutex // guards asked
	asked []string
}

func (d *fakeDocker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.asked = append(d.asked, r.Method+" "+r.URL.Path)
	d.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/containers/json" && r.URL.Query().Get("filters") == runningStatus:
		fmt.Fprint(w, d.list)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/kill") && (d.fail == "" || !strings.Contains(r.URL.Path, d.fail)):
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"message":"container is not running"}`)
	}
}

func (d *fakeDocker) listen(t *testing.T) dockerEngine {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(d)
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return dockerEngine{socket}
}

// A18, as Docker is told: exactly the containers that use the volume are killed, and one that
// cannot be keeps none of the others alive.
func TestKillUsers(t *testing.T) {
	db, bound, other := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	list := `[{"Id":"` + db + `","Names":["/db"],"State":"running","Mounts":[{"Type":"volume","Name":"v","Source":"/data/mnt/v","Driver":"ballast","RW":true}]},
		{"Id":"` + other + `","Names":["/other"],"State":"running","Mounts":[{"Type":"volume","Name":"v2","Source":"/data/mnt/v2","Driver":"ballast"}]},
		{"Id":"` + bound + `","Names":["/bound"],"State":"paused","Mounts":[{"Type":"bind","Source":"/data/mnt/v/sub"}]}]`
	for _, tt := range []struct {
		name, fail string
		killed     []string
		fails      bool
	}{
		{"all that use it", "", []string{"bound", "db"}, false},
		{"one cannot be killed", db, []string{"bound"}, true},
	} {
		docker := &fakeDocker{list: list, fail: tt.fail}
		killed, err := docker.listen(t).KillUsers(t.Context(), "v", "/data/mnt/v")
		if !slices.Equal(killed, tt.killed) || (err != nil) != tt.fails {
			t.Errorf("%s: killed %q, %v; want %q", tt.name, killed, err, tt.killed)
		}
		docker.mu.Lock()
		asked := slices.Sorted(slices.Values(docker.asked))
		docker.mu.Unlock()
		if want := []string{"GET /containers/json", "POST /containers/" + db + "/kill", "POST /containers/" + bound + "/kill"}; !slices.Equal(asked, want) {
			t.Errorf("%s: asked %q; want %q", tt.name, asked, want)
		}
	}
	if _, err := (dockerEngine{filepath.Join(t.TempDir(), "none")}).KillUsers(t.Context(), "v", "/data/mnt/v"); err == nil {
		t.Error("who uses it is known without Docker")
	}
}
