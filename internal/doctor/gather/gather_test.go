package gather

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// TestFacts looks at the machine that runs the tests: what every Linux can say is
// there, and what does not exist is told as such.
func TestFacts(t *testing.T) {
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"Version": "28.0.0"}`) // the test fails when it does not arrive
	}))
	defer engine.Close()
	dir := t.TempDir()
	f := Facts(context.Background(), Where{
		DataDir: filepath.Join(dir, "not", "yet"), PluginDir: filepath.Join(dir, "plugins"),
		Docker: &http.Client{Transport: redirect{engine.Listener.Addr().String()}}, DockerSocket: "x",
	})
	switch {
	case f.Kernel == "" || f.MemoryBytes == 0:
		t.Errorf("Facts = %+v; want a kernel and memory", f)
	case f.Data.Path != dir || f.Data.SizeBytes == 0 || f.Data.Filesystem == "":
		t.Errorf("Facts.Data = %+v; want the folder %s, its filesystem and size", f.Data, dir)
	case !f.PluginDir.Missing || f.PluginDir.Error != "":
		t.Errorf("Facts.PluginDir = %+v; want one that can be made", f.PluginDir)
	case f.Docker.Version != "28.0.0" || f.Docker.Error != "":
		t.Errorf("Facts.Docker = %+v; want version 28.0.0", f.Docker)
	case f.Root != (os.Geteuid() == 0):
		t.Errorf("Facts.Root = %t", f.Root)
	}
}

// TestMissing tells what is not there from what cannot be used.
func TestMissing(t *testing.T) {
	if d := device(filepath.Join(t.TempDir(), "none")); !d.Missing {
		t.Errorf("device = %+v; want missing", d)
	}
	if d := device(t.TempDir()); d.Missing || d.Error == "" {
		t.Errorf("device of a folder = %+v; want an error", d)
	}
	client := &http.Client{Transport: redirect{"127.0.0.1:1"}}
	if d := docker(context.Background(), Where{Docker: client}); d.Error == "" {
		t.Errorf("docker = %+v; want an error", d)
	}
}

// redirect sends every request to one address.
type redirect struct{ addr string }

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Host = r.addr
	return http.DefaultTransport.RoundTrip(req)
}
