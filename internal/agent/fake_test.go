package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/stream"
	"github.com/ballast-io/ballast/internal/vfs"
)

// machine stands in for a kernel and its processes: it outlives the agents that
// tests run on it. Steps fail or hang where a test says so.
type machine struct {
	mu      sync.Mutex // guards everything below
	engines map[string]*fakeEngine
	devices map[string]*fakeDevice
	fail    map[string]error         // step → what it fails with
	hang    map[string]chan struct{} // step → hangs until closed or its context ends
	steps   []string
	used    map[string]bool // by containers; nil: docker does not answer
	disks   map[string]*fakeDisk
	killing func(context.Context) error // what docker does while it kills a container; nil: nothing
}

type fakeEngine struct {
	m     *machine
	dir   string
	epoch ballast.Epoch
	size  int64
	dead  bool
	bad   string
	stall string // why its writes wait
	disk  *fakeDisk

	members replica.Members // as it was told last
	fenced  string
	copies  []stream.PeerStatus
}

type fakeDevice struct {
	spec device.Spec
	size int64
	busy bool
}

func newMachine() *machine {
	return &machine{engines: map[string]*fakeEngine{}, devices: map[string]*fakeDevice{}, disks: map[string]*fakeDisk{}, fail: map[string]error{}, hang: map[string]chan struct{}{}}
}

// step notes a step and waits or fails as the test wants it.
func (m *machine) step(ctx context.Context, name string) error {
	m.mu.Lock()
	m.steps = append(m.steps, name)
	err, hang := m.fail[name], m.hang[name]
	m.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (m *machine) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *machine) count(step string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, s := range m.steps {
		if s == step {
			n++
		}
	}
	return n
}

func (m *machine) Spawn(ctx context.Context, dir string, members replica.Members) (process, error) {
	epoch := members.Epoch
	if err := m.step(ctx, "spawn"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.engines[dir]; e != nil && !e.dead {
		return nil, fmt.Errorf("two engines on %s", dir)
	}
	if m.devices[filepath.Join(dir, deviceName)] != nil {
		return nil, fmt.Errorf("an engine is started over the remains of another on %s", dir)
	}
	e := &fakeEngine{m: m, dir: dir, epoch: epoch, members: members, size: ballast.DefaultVolumeSize, disk: m.diskLocked(dir)}
	e.disk.epoch = epoch
	m.engines[dir] = e
	return e, nil
}

func (m *machine) Dial(ctx context.Context, dir string) (process, error) {
	if err := m.step(ctx, "dial"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.engines[dir]; e != nil && !e.dead {
		return e, nil
	}
	return nil, sayGone(engine.ErrNotRunning)
}

func (e *fakeEngine) Status(ctx context.Context) (engine.Status, error) {
	if err := e.m.step(ctx, "status"); err != nil {
		return engine.Status{}, err
	}
	e.m.mu.Lock()
	defer e.m.mu.Unlock()
	if e.dead {
		return engine.Status{}, sayGone(engine.ErrNotRunning)
	}
	st := e.disk.status()
	st.PID, st.Epoch, st.Size, st.Error = 1, e.epoch, e.size, e.bad
	st.Session, st.Fenced, st.Copies, st.Stall = e.members.Session, e.fenced, e.copies, e.stall
	return st, nil
}

func (e *fakeEngine) SetMembers(ctx context.Context, m replica.Members) error {
	if err := e.m.step(ctx, "members"); err != nil {
		return err
	}
	e.m.set(func() { e.members = m })
	return nil
}

func (e *fakeEngine) Fence(ctx context.Context, reason string) error {
	if err := e.m.step(ctx, "fence"); err != nil {
		return err
	}
	e.m.set(func() { e.fenced = reason })
	return nil
}

func (e *fakeEngine) Resize(ctx context.Context, size int64) error {
	if err := e.m.step(ctx, "resize"); err != nil {
		return err
	}
	e.m.set(func() { e.size = size })
	return nil
}

func (e *fakeEngine) Stop(ctx context.Context) error {
	if err := e.m.step(ctx, "stop"); err != nil {
		return err
	}
	e.m.mu.Lock()
	defer e.m.mu.Unlock()
	if e.m.devices[filepath.Join(e.dir, deviceName)] != nil {
		return fmt.Errorf("engine stopped under a mounted device")
	}
	e.dead = true
	return nil
}

func (e *fakeEngine) Kill() error {
	e.m.set(func() { e.dead = true })
	return nil
}

func (e *fakeEngine) Close() error { return nil }

func (m *machine) Attach(ctx context.Context, spec device.Spec) (device.Attachment, error) {
	if err := m.step(ctx, "attach"); err != nil {
		return device.Attachment{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := filepath.Dir(filepath.Dir(spec.DeviceFile))
	e := m.engines[dir]
	if e == nil || e.dead {
		return device.Attachment{}, errors.New("no engine serves it")
	}
	m.devices[spec.DeviceFile] = &fakeDevice{spec: spec, size: e.size}
	return device.Attachment{DeviceFile: spec.DeviceFile, Loop: "/dev/loop0", Mountpoint: spec.Mountpoint, Filesystem: spec.Filesystem, Formatted: spec.MayFormat}, nil
}

func (m *machine) Detach(ctx context.Context, file string) error {
	if err := m.step(ctx, "detach"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.devices[file]; d != nil && d.busy {
		return fmt.Errorf("held by a container: %w", ballast.ErrInUse)
	}
	delete(m.devices, file)
	return nil
}

func (m *machine) Grow(ctx context.Context, file string, size int64) error {
	if err := m.step(ctx, "grow"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.devices[file].size = size
	return nil
}

func (m *machine) Find(file string) (device.Attachment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[file]
	if d == nil {
		return device.Attachment{}, ballast.ErrNotFound
	}
	return device.Attachment{DeviceFile: file, Loop: "/dev/loop0", Mountpoint: d.spec.Mountpoint}, nil
}

func (m *machine) Sweep(ctx context.Context, file string) error {
	if err := m.step(ctx, "sweep"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.engines[filepath.Dir(filepath.Dir(file))]; e != nil && !e.dead {
		return errors.New("swept under a living engine")
	}
	delete(m.devices, file)
	return nil
}

func (m *machine) UsedVolumes(context.Context) (map[string]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used == nil {
		return nil, errors.New("docker does not answer")
	}
	return m.used, nil
}

// KillUsers makes nobody use a volume's device any more.
func (m *machine) KillUsers(ctx context.Context, volume, mountpoint string) ([]string, error) {
	if err := m.step(ctx, "kill users"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if killing := m.killing; killing != nil {
		m.mu.Unlock()
		err := killing(ctx)
		m.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	for _, d := range m.devices {
		if d.spec.Mountpoint == mountpoint && d.busy {
			d.busy = false
			return []string{"web of " + volume}, nil
		}
	}
	return nil, nil
}

// StartUsers notes for which volume.
func (m *machine) StartUsers(ctx context.Context, volume string, killed []string) ([]string, error) {
	return killed, m.step(ctx, strings.TrimSpace("start users of "+volume+" "+strings.Join(killed, " ")))
}

// EndUsers implements users.
func (m *machine) EndUsers(ctx context.Context, _ string) ([]string, error) {
	return nil, m.step(ctx, "end users")
}

// kill makes every engine die.
func (m *machine) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.engines {
		e.dead = true
	}
}

// left returns what should not be there when nothing is attached.
func (m *machine) left() (found []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dir, e := range m.engines {
		if !e.dead {
			found = append(found, "engine in "+filepath.Base(dir))
		}
	}
	for file := range m.devices {
		found = append(found, "device "+file)
	}
	return found
}

// testNode runs a node on the machine m with the data folder dir until stop is
// called.
func testNode(t *testing.T, m *machine, dir string) (n *node, stop func()) {
	t.Helper()
	n, run := idleNode(t, m, dir)
	return n, runNode(t, run)
}

// runNode runs a node until the result is called, or the test ends.
func runNode(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("node ended: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// idleNode makes a node that does not run yet.
func idleNode(t *testing.T, m *machine, dir string) (*node, func(context.Context) error) {
	t.Helper()
	n := newTestNode(t, m, Config{DataDir: dir, Archive: NoArchive})
	return n, n.Run
}

func newTestNode(t *testing.T, m *machine, cfg Config) *node {
	t.Helper()
	dir, log := cfg.DataDir, slog.New(slog.NewTextHandler(t.Output(), nil))
	cfg.Node, cfg.TrashKeep, cfg.Log = "n1", time.Hour, log
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if err := makeFolders(dir); err != nil {
		t.Fatal(err)
	}
	disk, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	records := cluster.Open(cluster.Config{Dir: filepath.Join(dir, recordsDir), View: disk, Node: cfg.Node, Log: log})
	n, err := newNode(cfg, disk, records, m, m, m)
	if err != nil {
		t.Fatal(err)
	}
	n.users = m
	return n
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	eventuallyWithin(t, 2*time.Minute, what, is) // on a machine that does much else
}

// eventuallyWithin is eventually with another patience. It looks less and less often, because a look
// at a process costs what others that are waited for would use.
func eventuallyWithin(t *testing.T, d time.Duration, what string, is func() bool) {
	t.Helper()
	pause := time.Millisecond
	for deadline := time.Now().Add(d); !is(); <-time.After(pause) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
		pause = min(pause*5/4+time.Microsecond, 50*time.Millisecond)
	}
}

func mustCreate(t *testing.T, n *node, name string, options map[string]string) volumeView {
	t.Helper()
	v, err := n.Create(t.Context(), name, options)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustAttach(t *testing.T, n *node, name, holder string) {
	t.Helper()
	got, err := n.Attach(t.Context(), name, holder)
	if err != nil {
		t.Fatal(err)
	}
	if want := n.mountpoint(name); got != want {
		t.Fatalf("mountpoint = %s; want %s", got, want)
	}
}

func mustDetach(t *testing.T, n *node, name, holder string) {
	t.Helper()
	if err := n.Detach(t.Context(), name, holder); err != nil {
		t.Fatal(err)
	}
}

func stateOf(t *testing.T, n *node, name string) state {
	t.Helper()
	v, err := n.Inspect(name)
	if err != nil {
		t.Fatal(err)
	}
	return v.state
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }
