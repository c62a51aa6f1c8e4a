package engine

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
	"github.com/ballast-io/ballast/test/freeze"
)

// TestMain makes the test binary the engine that Spawn starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		if err := runEngine(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runEngine(args []string) error {
	cfg := Config{Log: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	flags.StringVar(&cfg.Dir, "dir", "", "")
	flags.Uint64Var((*uint64)(&cfg.Epoch), "epoch", 0, "")
	flags.Int64Var(&cfg.LogCapacity, "log-capacity", 0, "")
	flags.Int64Var(&cfg.Queue, "queue", 0, "")
	flags.StringVar(&cfg.Agent, "agent", "", "")
	flags.StringVar((*string)(&cfg.Node), "node", "", "")
	flags.StringVar(&cfg.Lease, "lease", "", "")
	flags.StringVar(&cfg.Identity, "identity", "", "")
	flags.DurationVar(&cfg.Settle, "settle", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return Run(ctx, cfg)
}

const size = 64 << 20

// newFolder makes a volume's folder, whose socket's path is too long for an address.
func newFolder(t *testing.T) (dir string, disk vfs.FS) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a FUSE filesystem")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("needs /dev/fuse: %v", err)
	}
	dir = filepath.Join(t.TempDir(), "a folder "+strings.Repeat("x", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

const testVolume = "abcdefghijklmnopqrstuvwxyz"

func newVolume(t *testing.T) string {
	t.Helper()
	dir, disk := newFolder(t)
	if err := volume.Create(disk, ".", volume.Identity{ID: testVolume, Size: size}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spawn starts an engine, and at the end of the test takes away what it left.
func spawn(t *testing.T, dir string, epoch ballast.Epoch) *Client {
	t.Helper()
	return spawnWith(t, Config{Dir: dir, Epoch: epoch})
}

func spawnWith(t *testing.T, cfg Config) *Client {
	t.Helper()
	dir := cfg.Dir
	c, err := Spawn(t.Context(), cfg)
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, logName))
		t.Fatalf("%v\n%s", err, text)
	}
	t.Cleanup(func() { bury(t, c, dir) })
	return c
}

func bury(t *testing.T, c *Client, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := errors.Join(c.Kill(), c.Wait(ctx), device.Sweep(ctx, DeviceFile(dir))); err != nil {
		t.Error(err)
	}
}

func attach(t *testing.T, dir string) string {
	t.Helper()
	at, err := device.Attach(t.Context(), device.Spec{
		DeviceFile: DeviceFile(dir), Mountpoint: filepath.Join(t.TempDir(), "mnt"), Filesystem: ballast.Ext4, MayFormat: true,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return at.Mountpoint
}

// put writes a file and syncs it: it is acknowledged.
func put(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func mustHold(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); string(got) != want || err != nil {
		t.Errorf("%s holds %q, %v; want %q", filepath.Base(path), got, err, want)
	}
}

// eventually polls real state.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// The life of an engine: it serves, says what it does, refuses to stop in use, stops,
// and leaves nothing.
func TestLife(t *testing.T) {
	dir := newVolume(t)
	c := spawn(t, dir, 1)
	st, err := c.Status(t.Context())
	if err != nil || st.Epoch != 1 || st.Size != size || st.InUse || st.DeviceFile != DeviceFile(dir) || st.Error != "" {
		t.Errorf("status = %+v, %v; want epoch 1, %d bytes, not in use", st, err, size)
	}
	mountpoint := attach(t, dir)
	put(t, filepath.Join(mountpoint, "f"), "kept")
	if err := c.Stop(t.Context()); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("stop in use = %v; want in use", err)
	}
	if st, err := c.Status(t.Context()); err != nil || !st.InUse || st.Flushes == 0 {
		t.Errorf("status = %+v, %v; want in use, flushed", st, err)
	}
	stopCleanly(t, c, dir)

	c = spawn(t, dir, 2)
	mustHold(t, filepath.Join(attach(t, dir), "f"), "kept")
	stopCleanly(t, c, dir)
}

// G9: an engine outlives the agent by days, and has none of its secrets.
func TestEngineGetsNoSecrets(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "the secret")
	t.Setenv("BALLAST_ARCHIVE_PASSWORD_FILE", "/the/secret")
	t.Setenv("TZ", "Asia/Tokyo")
	dir := newVolume(t)
	c := spawn(t, dir, 1)
	for _, file := range []string{"environ", "cmdline"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.process.Pid, file))
		if err != nil || len(text) == 0 {
			t.Fatalf("%s: %d bytes, %v", file, len(text), err)
		}
		if bytes.Contains(text, []byte("secret")) {
			t.Errorf("the engine's %s is %q", file, text)
		}
		if file == "environ" && !bytes.Contains(text, []byte("TZ=Asia/Tokyo")) {
			t.Errorf("the engine's %s is %q, without the time zone", file, text)
		}
	}
	stopCleanly(t, c, dir)
}

func stopCleanly(t *testing.T, c *Client, dir string) {
	t.Helper()
	if err := errors.Join(device.Detach(t.Context(), DeviceFile(dir)), c.Stop(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("status after stop = %v; want not running", err)
	}
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("dial after stop = %v; want not running", err)
	}
	if text, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(text, []byte(filepath.Dir(dir))) {
		t.Errorf("mounts left behind below %s (%v)", dir, err)
	}
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if report, err := volume.Check(disk, "."); err != nil {
		t.Errorf("check = %+v, %v; want sound", report, err)
	}
}

// A crash costs what was not flushed and nothing else (G1).
func TestCrash(t *testing.T) {
	dir := newVolume(t)
	for epoch := ballast.Epoch(1); epoch <= 3; epoch++ {
		c := spawn(t, dir, epoch)
		mountpoint := attach(t, dir)
		for earlier := ballast.Epoch(1); earlier < epoch; earlier++ {
			mustHold(t, filepath.Join(mountpoint, earlier.String()), "acknowledged")
		}
		put(t, filepath.Join(mountpoint, epoch.String()), "acknowledged")
		bury(t, c, dir)
	}
}

// N1, and an epoch that was used before.
func TestRefuses(t *testing.T) {
	dir := newVolume(t)
	c := spawn(t, dir, 5)
	if _, err := Spawn(t.Context(), Config{Dir: dir, Epoch: 6}); err == nil || !strings.Contains(err.Error(), "another engine") {
		t.Errorf("second engine = %v; want it refused", err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("first engine after that: %v", err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Spawn(t.Context(), Config{Dir: dir, Epoch: 5}); err == nil || !strings.Contains(err.Error(), "epoch") {
		t.Errorf("epoch again = %v; want it refused, naming the epoch", err)
	}
	if _, err := Spawn(t.Context(), Config{Dir: t.TempDir(), Epoch: 1}); err == nil {
		t.Error("engine without a volume started")
	}
}

// A returning agent finds its engine.
func TestDial(t *testing.T) {
	dir := newVolume(t)
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("dial = %v; want not running", err)
	}
	first := spawn(t, dir, 1)
	found, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	st, err := found.Status(t.Context())
	if err != nil || st.PID != first.process.Pid {
		t.Errorf("status = %+v, %v; want process %d", st, err, first.process.Pid)
	}
	if err := errors.Join(found.Kill(), found.Wait(t.Context())); err != nil {
		t.Error(err)
	}
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("dial a dead engine = %v; want not running", err)
	}
	if err := errors.Join(found.Kill(), found.Stop(t.Context())); err != nil {
		t.Errorf("kill and stop a dead engine = %v; want nil", err)
	}
}

// N4: every call ends with its context.
func TestStoppedEngine(t *testing.T) {
	dir := newVolume(t)
	c := spawn(t, dir, 1)
	freeze.Process(t, c.process.Pid)
	for name, call := range map[string]func(context.Context) error{
		"status":   func(ctx context.Context) error { _, err := c.Status(ctx); return err },
		"resize":   func(ctx context.Context) error { return c.Resize(ctx, 2*size) },
		"changes":  func(ctx context.Context) error { _, err := c.Changes(ctx, 0, 1); return err },
		"archived": func(ctx context.Context) error { return c.Archived(ctx, 1) },
		"snapshot": func(ctx context.Context) error { _, err := c.Snapshot(ctx, 0); return err },
		"stop":     c.Stop,
		"members":  func(ctx context.Context) error { return c.SetMembers(ctx, replica.Members{Epoch: 1}) },
		"fence":    func(ctx context.Context) error { return c.Fence(ctx, "a test") },
		"wait":     c.Wait,
		"dial": func(ctx context.Context) error {
			d, err := Dial(dir)
			return errors.Join(err, d.Close(), waitDone(ctx))
		},
		"spawn": func(ctx context.Context) error {
			_, err := Spawn(ctx, Config{Dir: dir, Epoch: 2, Executable: "/bin/sleep"})
			return errors.Join(err, waitDone(ctx))
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s = %v; want deadline exceeded", name, err)
		}
		cancel()
	}
}

func waitDone(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// An engine that never says a word is given up and killed.
func TestSpawnMute(t *testing.T) {
	needed, err := exec.LookPath("sleep")
	if err != nil {
		t.Skipf("needs sleep: %v", err)
	}
	script := filepath.Join(t.TempDir(), "mute")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+needed+" 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Spawn(ctx, Config{Dir: t.TempDir(), Epoch: 1, Executable: script}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("spawn = %v; want deadline exceeded", err)
	}
}

// N2: SIGTERM ends an engine only once its file is released.
func TestSIGTERM(t *testing.T) {
	dir := newVolume(t)
	c := spawn(t, dir, 1)
	mountpoint := attach(t, dir)
	if err := c.process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine has taken notice", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, logName))
		return err == nil && bytes.Contains(text, []byte("asked to end"))
	})
	put(t, filepath.Join(mountpoint, "f"), "written after SIGTERM")
	if err := device.Detach(t.Context(), DeviceFile(dir)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.Wait(ctx); err != nil {
		t.Error(err)
	}
}

// N3: on a disk that fails, writes fail and say so, reads go on, and the status
// says why. The log's folder being gone is what the disk's failing looks like here.
func TestPoisoned(t *testing.T) {
	dir := newVolume(t)
	c := spawn(t, dir, 1)
	mountpoint := attach(t, dir)
	put(t, filepath.Join(mountpoint, "f"), "acknowledged")
	if err := os.RemoveAll(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(mountpoint, "g"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // it has failed by then
	eventually(t, "a write fails", func() bool {
		_, err := f.WriteAt(make([]byte, 4<<20), 0)
		return err != nil || f.Sync() != nil
	})
	st, err := c.Status(t.Context())
	if err != nil || st.Error == "" {
		t.Errorf("status = %+v, %v; want an error in it", st, err)
	}
	mustHold(t, filepath.Join(mountpoint, "f"), "acknowledged")
}

// A volume grows below a filesystem that is in use.
func TestResize(t *testing.T) {
	dir := newVolume(t)
	c := spawn(t, dir, 1)
	attach(t, dir)
	if err := c.Resize(t.Context(), 2*size); err != nil {
		t.Fatal(err)
	}
	if st, err := c.Status(t.Context()); st.Size != 2*size || err != nil {
		t.Errorf("size = %d, %v; want %d", st.Size, err, 2*size)
	}
	if err := c.Resize(t.Context(), size); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("shrink = %v; want invalid", err)
	}
}

// An engine is in a session of its own and holds no descriptor of ours.
func TestDetachedFromUs(t *testing.T) {
	ours, err := os.CreateTemp(t.TempDir(), "ours")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	c := spawn(t, newVolume(t), 1)
	if sid, err := unix.Getsid(c.process.Pid); sid != c.process.Pid || err != nil {
		t.Errorf("session = %d, %v; want its own, %d", sid, err, c.process.Pid)
	}
	fds := filepath.Join("/proc", strconv.Itoa(c.process.Pid), "fd")
	entries, err := os.ReadDir(fds)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, _ := os.Readlink(filepath.Join(fds, e.Name())); name == ours.Name() {
			t.Errorf("engine holds %s", name)
		}
	}
}
