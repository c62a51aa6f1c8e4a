package agent

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

func newContext(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(context.Background())
}

func TestHolds(t *testing.T) {
	var a attachmentState
	a = a.with("x", 1).with("x", 2).with("y", 3)
	if got := a.Holders["x"]; got != (hold{2, 1}) {
		t.Errorf("x = %v; want two holds since 1", got)
	}
	b := a.without("x").without("x").without("x").without("nobody")
	if got := b.names(); !slices.Equal(got, []string{"y"}) {
		t.Errorf("holders = %v; want y", got)
	}
	if got := a.names(); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("the original became %v", got)
	}
}

func TestDecodeAttachment(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		ok       bool
		holders  []string
	}{
		{"this boot", `{"version":1,"boot_id":"b","epoch":3,"holders":{"x":{"count":1}}}`, true, []string{"x"}},
		{"an earlier boot", `{"version":1,"boot_id":"a","epoch":3,"holders":{"x":{"count":1}}}`, true, nil},
		{"a later format", `{"version":2}`, false, nil},
		{"no format", `{}`, false, nil},
		{"holds below one", `{"version":1,"boot_id":"b","holders":{"x":{"count":0}}}`, false, nil},
		{"a holder without a name", `{"version":1,"boot_id":"b","holders":{"":{"count":1}}}`, false, nil},
		{"torn", `{"version":1,"boot`, false, nil},
		{"empty", ``, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeAttachment([]byte(tt.in), "b")
			if (err == nil) != tt.ok || !slices.Equal(got.names(), tt.holders) {
				t.Errorf("decodeAttachment = %v, %v; want %v, ok %t", got.names(), err, tt.holders, tt.ok)
			}
		})
	}
}

func FuzzDecodeAttachment(f *testing.F) {
	f.Add([]byte(`{"version":1,"boot_id":"b","epoch":3,"filesystem_size":5,"holders":{"x":{"count":1,"since_ns":7}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAttachment(data, "b")
		if err != nil {
			return
		}
		again, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := decodeAttachment(again, "b")
		if err != nil || a.Epoch != b.Epoch || !maps.Equal(a.Holders, b.Holders) {
			t.Errorf("%+v reads back as %+v, %v", a, b, err)
		}
	})
}

func FuzzDecodeUsedVolumes(f *testing.F) {
	f.Add([]byte(`[{"Mounts":[{"Type":"volume","Name":"db"}]},{"Mounts":null}]`))
	f.Add([]byte(`{"message":"no"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		used, err := decodeUsedVolumes(data)
		if err == nil && used == nil {
			t.Error("no error and no answer")
		}
	})
}

func TestUsedVolumes(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	reply, code := `[{"Mounts":[{"Type":"volume","Name":"db"},{"Type":"bind","Name":""}]}]`, 200
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containers/json" || r.URL.Query().Get("all") != "1" || !strings.Contains(r.URL.Query().Get("filters"), "running") {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(reply))
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() {
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	d := dockerEngine{dir + "/docker.sock"}
	if used, err := d.UsedVolumes(t.Context()); err != nil || !reflect.DeepEqual(used, map[string]bool{"db": true}) {
		t.Errorf("used = %v, %v; want db", used, err)
	}
	reply = `{"message":"broken"}`
	if _, err := d.UsedVolumes(t.Context()); err == nil {
		t.Error("an answer that is no list was taken for one")
	}
	reply, code = `[]`, 500
	if _, err := d.UsedVolumes(t.Context()); err == nil {
		t.Error("a failure was taken for an answer")
	}
	if _, err := (dockerEngine{dir + "/none"}).UsedVolumes(t.Context()); err == nil {
		t.Error("nobody answered, and that was taken for an answer")
	}
}

// A node keeps its name: records say by name who holds a volume.
func TestNodeKeepsItsName(t *testing.T) {
	disk, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if _, err := settleName(disk, "a b"); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("a bad name: %v; want it refused", err)
	}
	for _, asked := range []ballast.NodeID{"n1", "n1", ""} {
		if got, err := settleName(disk, asked); err != nil || got != "n1" {
			t.Errorf("asked for %q: %q, %v; want n1", asked, got, err)
		}
	}
	if _, err := settleName(disk, "n2"); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("another name: %v; want it refused", err)
	}
}

func TestAPIErrors(t *testing.T) {
	for err, want := range map[error]connect.Code{
		ballast.ErrNotFound:      connect.CodeNotFound,
		ballast.ErrExists:        connect.CodeAlreadyExists,
		ballast.ErrInUse:         connect.CodeFailedPrecondition,
		ballast.ErrInvalid:       connect.CodeInvalidArgument,
		ballast.ErrNotReady:      connect.CodeUnavailable,
		context.DeadlineExceeded: connect.CodeDeadlineExceeded,
		net.ErrClosed:            connect.CodeInternal,
	} {
		if got := connect.CodeOf(apiError(err)); got != want {
			t.Errorf("code of %q = %s; want %s", err, got, want)
		}
	}
}

func TestHealthKeepsSince(t *testing.T) {
	h := newHealth()
	h.raise("v", "a", "first", "")
	since := h.of("v")[0].since
	h.raise("v", "a", "second", "")
	if got := h.of("v")[0]; got.since != since || got.title != "second" {
		t.Errorf("condition = %+v; want the new title and the old since", got)
	}
	h.raise("", "b", "", "")
	if got := h.all(); len(got) != 2 {
		t.Errorf("%d conditions; want 2", len(got))
	}
	h.clear("v")
	if got := h.all(); len(got) != 1 || got[0].code != "b" {
		t.Errorf("conditions = %v; want only the node's", got)
	}
}
