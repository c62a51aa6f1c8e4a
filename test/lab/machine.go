package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Options of a machine. The zero value is a good one.
type Options struct {
	Node        string   // the agent's node name; default "n1"
	Ballast     string   // path of the binary; default bin/ballast of this module
	AgentArgs   []string // added to the agent's command line
	AgentEnv    []string // added to the agent's environment, as NAME=VALUE
	DockerdArgs []string // added to dockerd's command line
	Disk        int64    // bytes of a disk of its own for the agent's folder, at least 300 MiB; 0: it is on the host's
}

func (o Options) withDefaults() (Options, error) {
	if o.Node == "" {
		o.Node = "n1"
	}
	if o.Ballast != "" {
		return o, nil
	}
	root, err := ModuleRoot()
	o.Ballast = filepath.Join(root, "bin", "ballast")
	return o, err
}

// Machine is a machine in miniature. Make one with [New]; Close it.
type Machine struct {
	Dir     string // its folder, seen from inside and outside alike; removed by Close
	Agent   *Daemon
	Dockerd *Daemon

	opts   Options                     // constant
	cgroup string                      // constant
	plug   func(context.Context) error // connects it to a network, whenever it is switched on; nil: to none

	mu     sync.Mutex  // guards what follows
	ns     *namespaces // nil while the power is off
	closed bool
}

// New makes a machine that keeps everything in dir, which must be empty or not
// exist, and which Close removes. Nothing runs in it yet: start Dockerd and
// Agent. It needs root.
func New(ctx context.Context, dir string, opts Options) (*Machine, error) {
	return newMachine(ctx, dir, opts, nil)
}

// newMachine is New for a machine that plug connects to a network, unless it is nil.
func newMachine(ctx context.Context, dir string, opts Options, plug func(context.Context, *Machine) error) (*Machine, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("make lab machine: %w", err)
	}
	if dir, err = makeEmpty(dir); err != nil {
		return nil, fmt.Errorf("make lab machine: %w", err)
	}
	m := &Machine{Dir: dir, opts: opts, cgroup: fmt.Sprintf("ballast-lab-%d-%s", os.Getpid(), filepath.Base(dir))}
	if m.ns, err = openNamespaces(machineScript, dir, m.cgroup); err != nil {
		return nil, fmt.Errorf("make lab machine in %s: %w", dir, err)
	}
	if plug != nil {
		m.plug = func(ctx context.Context) error { return plug(ctx, m) }
	}
	m.Agent = m.agent()
	if err := m.furnish(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make lab machine in %s: %w", dir, err), m.Close())
	}
	return m, nil
}

func (m *Machine) furnish(ctx context.Context) (err error) {
	if err := m.installBallast(); err != nil {
		return err
	}
	if err := m.makeDisk(ctx); err != nil {
		return err
	}
	if err := m.equip(ctx); err != nil {
		return err
	}
	m.Dockerd, err = m.dockerd(ctx)
	return err
}

// makeEmpty makes sure that dir is ours to remove and returns its real path,
// which is the one that the kernel will show for what is below it.
func makeEmpty(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("%s is not empty, and Close would remove it", dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// Close ends everything in the machine at once, as losing power would, and
// leaves nothing of it behind. It may be called again.
func (m *Machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	ns := m.ns
	m.ns = nil
	var err error
	if ns != nil {
		err = ns.close()
	} else {
		err = os.RemoveAll(m.Dir)
	}
	if err != nil {
		return fmt.Errorf("close lab machine in %s: %w", m.Dir, err)
	}
	return nil
}

// Root is where the host finds the machine's files, as long as it runs:
// Root()+"/run/docker.sock" is its Engine's socket.
func (m *Machine) Root() string {
	ns, err := m.running()
	if err != nil {
		return "/proc/0/root" // nothing
	}
	return fmt.Sprintf("/proc/%d/root", ns.pid)
}

// running returns the namespaces, unless the power is off.
func (m *Machine) running() (*namespaces, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ns == nil {
		return nil, ErrOff
	}
	return m.ns, nil
}

// Path is a path in the machine's folder.
func (m *Machine) Path(elem ...string) string {
	return filepath.Join(append([]string{m.Dir}, elem...)...)
}

// Command is like [exec.CommandContext], with the environment of the machine.
// It has to be started with [Machine.Start] or [Machine.Run].
func (m *Machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{
		"PATH=" + m.Path("bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + m.Dir,
		"LC_ALL=C.UTF-8",
		"BALLAST_SOCKET=" + m.AgentSocket(),
	}
	// Its own group: the terminal's Ctrl-C reaches this program only.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Start starts cmd inside the machine. The caller waits for it, in a goroutine where the
// machine may be closed or switched off meanwhile: that returns when all its processes have
// been waited for.
func (m *Machine) Start(cmd *exec.Cmd) error {
	ns, err := m.running()
	if err != nil {
		return err
	}
	return ns.start(cmd)
}

// Listen opens a socket in the machine's network, which this program serves: a test can
// be a server that the machine's programs reach on their loopback. The caller closes it.
func (m *Machine) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	ns, err := m.running()
	if err != nil {
		return nil, err
	}
	return ns.listen(ctx, network, address)
}

// ListenPacket is Listen for packets.
func (m *Machine) ListenPacket(ctx context.Context, network, address string) (conn net.PacketConn, err error) {
	ns, err := m.running()
	if err != nil {
		return nil, err
	}
	err = ns.within(func() (err error) {
		conn, err = new(net.ListenConfig).ListenPacket(ctx, network, address)
		return err
	})
	return conn, err
}

// Dial connects from the machine's network, as its programs would.
func (m *Machine) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	ns, err := m.running()
	if err != nil {
		return nil, err
	}
	err = ns.within(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Run runs cmd inside the machine.
func (m *Machine) Run(cmd *exec.Cmd) error {
	if err := m.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Output runs a program inside the machine and returns what it prints, without
// the last newline. The error of a program that fails says what it complained
// about.
func (m *Machine) Output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := m.Command(ctx, name, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := m.Run(cmd)
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return strings.TrimRight(out.String(), "\n"), err
}

// Docker runs a Docker command against the machine's Engine.
func (m *Machine) Docker(ctx context.Context, args ...string) (string, error) {
	return m.Output(ctx, "docker", args...)
}

// Ballast runs a Ballast command against the machine's agent.
func (m *Machine) Ballast(ctx context.Context, args ...string) (string, error) {
	return m.Output(ctx, m.ballast(), args...)
}
