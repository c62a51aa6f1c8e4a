package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/internal/api/ballastv1/ballastv1connect"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/test/freeze"
)

// realAgent is an agent in a process of its own, on this machine's kernel.
type realAgent struct {
	t       *testing.T
	dir     string
	more    []string // arguments: the archive's URL, its password file
	cmd     *exec.Cmd
	volumes ballastv1connect.VolumeServiceClient
	node    ballastv1connect.NodeServiceClient
	archive ballastv1connect.ArchiveServiceClient
	http    *http.Client
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("left out: attaching volumes needs root")
	}
	for _, path := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("left out: this machine has no %s", path)
		}
	}
}

// startReal starts an agent on dir. When the test ends, however, everything that
// runs for dir is ended and swept.
func startReal(t *testing.T, dir string, more ...string) *realAgent {
	t.Helper()
	a := &realAgent{t: t, dir: dir, more: more}
	a.start()
	t.Cleanup(func() {
		a.kill()
		sweepAll(t, dir)
	})
	return a
}

func (a *realAgent) start() {
	a.t.Helper()
	log, err := os.OpenFile(filepath.Join(a.dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.t.Fatal(err)
	}
	defer log.Close()
	a.cmd = exec.Command(os.Args[0], append([]string{"agent", a.dir}, a.more...)...)
	a.cmd.Stderr = log
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	a.connect()
	eventually(a.t, "answer of the agent", func() bool {
		st, err := a.node.Status(a.t.Context(), connect.NewRequest(&v1.StatusRequest{}))
		return err == nil && st.Msg.GetRecordsReady()
	})
}

func (a *realAgent) connect() {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d, err := os.Open(a.dir) // the path may be too long for an address
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName))
	}
	a.http = &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	a.volumes = ballastv1connect.NewVolumeServiceClient(a.http, "http://ballast")
	a.node = ballastv1connect.NewNodeServiceClient(a.http, "http://ballast")
	a.archive = ballastv1connect.NewArchiveServiceClient(a.http, "http://ballast")
}

func (a *realAgent) kill() {
	_ = a.cmd.Process.Kill() // it may have ended
	_ = a.cmd.Wait()
}

func (a *realAgent) create(name string, options map[string]string) *v1.Volume {
	a.t.Helper()
	r, err := a.volumes.Create(a.t.Context(), connect.NewRequest(&v1.CreateRequest{Name: name, Options: options}))
	if err != nil {
		a.t.Fatal(err)
	}
	return r.Msg.GetVolume()
}

func (a *realAgent) attach(name, holder string) string {
	a.t.Helper()
	r, err := a.volumes.Attach(a.t.Context(), connect.NewRequest(&v1.AttachRequest{Name: name, Holder: holder}))
	if err != nil {
		a.t.Fatal(err)
	}
	return r.Msg.GetMountpoint()
}

func (a *realAgent) detach(name, holder string) {
	a.t.Helper()
	if _, err := a.volumes.Detach(a.t.Context(), connect.NewRequest(&v1.DetachRequest{Name: name, Holder: holder})); err != nil {
		a.t.Fatal(err)
	}
}

func (a *realAgent) inspect(name string) *v1.Volume {
	a.t.Helper()
	r, err := a.volumes.Inspect(a.t.Context(), connect.NewRequest(&v1.InspectRequest{Name: name}))
	if err != nil {
		a.t.Fatal(err)
	}
	return r.Msg.GetVolume()
}

// sweepAll ends every engine below dir and takes away what it leaves.
func sweepAll(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	volumes, err := filepath.Glob(filepath.Join(dir, volumesDir, "*"))
	if err != nil {
		t.Error(err)
	}
	eventually(t, "the end of the engines", func() bool { return !killEngines(dir) })
	for _, v := range volumes {
		if err := device.Sweep(ctx, engine.DeviceFile(v)); err != nil {
			t.Error(err)
		}
	}
	if left := leftOnMachine(t, dir); left != "" {
		t.Errorf("left on the machine:\n%s", left)
	}
}

// killEngines kills every engine below dir, also one that was started a moment ago and cannot be
// reached yet, and reports whether there were any.
func killEngines(dir string) (found bool) {
	for _, pid := range processes() {
		said, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(said), "\x00--dir\x00"+dir+"/") {
			found = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // or it has ended
		}
	}
	return found
}

// leftOnMachine returns what the kernel has mounted below dir.
func leftOnMachine(t *testing.T, dir string) string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var left strings.Builder
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, " "+dir+"/") {
			left.WriteString(line)
		}
	}
	return left.String()
}

// The main line: a volume is made, used, survives the kill of the agent in
// mid-use, is detached and attached again, grown, removed and restored.
func TestRealVolumeSurvivesAgent(t *testing.T) {
	t.Parallel()
	needRoot(t)
	a := startReal(t, longDir(t))
	// xfs, because ext4 does not let every root grow it while it is mounted.
	a.create("db", map[string]string{"fs": "xfs", "size": "300M", "uid": "999", "mode": "2770"})
	mountpoint := a.attach("db", "a")
	file := filepath.Join(mountpoint, "key")
	if err := os.WriteFile(file, []byte("value"), 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(mountpoint); err != nil || st.Mode().Perm() != 0o770 || st.Sys().(*syscall.Stat_t).Uid != 999 {
		t.Errorf("root folder: %v, %v; want 2770 of 999", st.Mode(), err)
	}
	open, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.kill()
	if _, err := open.WriteAt([]byte("VALUE"), 0); err != nil {
		t.Errorf("write without an agent: %v", err)
	}
	if err := errors.Join(open.Sync(), open.Close()); err != nil {
		t.Errorf("sync without an agent: %v", err)
	}
	a.start()
	eventually(t, "taking over", func() bool { return a.inspect("db").GetState() == string(stateAttached) })
	if v := a.inspect("db"); v.GetEpoch() != 1 || v.GetMountpoint() != mountpoint || len(v.GetHolders()) != 1 {
		t.Errorf("after take-over: %v", v)
	}
	a.detach("db", "a")
	if left := leftOnMachine(t, a.dir); left != "" {
		t.Errorf("left after detach:\n%s", left)
	}
	if _, err := a.volumes.Resize(t.Context(), connect.NewRequest(&v1.ResizeRequest{Name: "db", Size: "600M"})); err != nil {
		t.Fatal(err)
	}
	if _, err := a.volumes.Remove(t.Context(), connect.NewRequest(&v1.RemoveRequest{Name: "db"})); err != nil {
		t.Fatal(err)
	}
	if _, err := a.volumes.Restore(t.Context(), connect.NewRequest(&v1.RestoreRequest{Name: "db", As: "db2"})); err != nil {
		t.Fatal(err)
	}
	mountpoint = a.attach("db2", "b")
	if got, err := os.ReadFile(filepath.Join(mountpoint, "key")); err != nil || string(got) != "VALUE" {
		t.Errorf("content = %q, %v; want what was synced", got, err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(mountpoint, &fs); err != nil || fs.Blocks*uint64(fs.Bsize) < 450<<20 {
		t.Errorf("the filesystem has %d bytes, %v; want about 600 MiB", fs.Blocks*uint64(fs.Bsize), err)
	}
	a.detach("db2", "b")
}

// An engine is killed: what it left is swept, what was synced is there again.
func TestRealEngineDies(t *testing.T) {
	t.Parallel()
	needRoot(t)
	a := startReal(t, t.TempDir())
	v := a.create("db", map[string]string{"size": "64M"})
	mountpoint := a.attach("db", "a")
	file := filepath.Join(mountpoint, "key")
	writeSynced(t, file, "value")
	c, err := engine.Dial(filepath.Join(a.dir, volumesDir, v.GetId()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "noticing", func() bool { return a.inspect("db").GetState() == string(stateFailed) })
	if left := leftOnMachine(t, a.dir); left != "" {
		t.Errorf("left after the engine's death:\n%s", left)
	}
	a.attach("db", "b")
	if got, err := os.ReadFile(file); err != nil || string(got) != "value" {
		t.Errorf("content = %q, %v; want what was synced", got, err)
	}
	a.detach("db", "b")
}

// G7: an engine is stopped; other volumes and all look-ups go on.
func TestRealEngineStopped(t *testing.T) {
	t.Parallel()
	needRoot(t)
	a := startReal(t, t.TempDir())
	a.create("stopped", map[string]string{"size": "64M"})
	a.create("other", map[string]string{"size": "64M"})
	a.attach("stopped", "a")
	eventually(t, "status", func() bool { return a.inspect("stopped").GetEngine().GetPid() != 0 })
	pid := int(a.inspect("stopped").GetEngine().GetPid())
	freeze.Process(t, pid)
	a.attach("other", "b")
	a.detach("other", "b")
	if _, err := a.volumes.Attach(t.Context(), connect.NewRequest(&v1.AttachRequest{Name: "stopped", Holder: "c"})); err == nil {
		t.Error("attached to an engine that is stopped")
	}
	eventually(t, "condition", func() bool {
		c := a.inspect("stopped").GetConditions()
		return len(c) == 1 && c[0].GetCode() == condEngineSilent
	})
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a.detach("stopped", "a")
}

// A1: a second agent on the folder says who has it.
func TestRealSecondAgentIsRefused(t *testing.T) {
	t.Parallel()
	a := startReal(t, t.TempDir())
	out, err := exec.Command(os.Args[0], "agent", a.dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another agent (pid ") {
		t.Errorf("second agent: %v\n%s", err, out)
	}
}

func TestRealMetrics(t *testing.T) {
	t.Parallel()
	a := startReal(t, t.TempDir())
	a.create("db", map[string]string{"size": "64M"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://ballast/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body strings.Builder
	if _, err := io.Copy(&body, resp.Body); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`ballast_volume_capacity_bytes{node="n1",volume="db"} 6.7108864e+07`,
		`ballast_volume_state{node="n1",state="detached",volume="db"} 1`,
		`ballast_volume_state{node="n1",state="attached",volume="db"} 0`,
		`ballast_volume_size_bytes{node="n1",volume="db"}`,
		`ballast_mount_wait_seconds_count 0`,
		`ballast_records_ready{node="n1"} 1`,
		`etcd_server_proposals_applied_total`,
	} {
		if !strings.Contains(body.String(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func writeSynced(t *testing.T, file, content string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// longDir returns a folder whose path does not fit into a socket's address.
func longDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
