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
	DockerdArgs []string // added to dockerd's command line
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

	opts   Options     // constant
	ns     *namespaces // constant
	cgroup string      // constant

	closing sync.Once
	closed  error // of the first Close
}

// New makes a machine that keeps everything in dir, which must be empty or not
// exist, and which Close removes. Nothing runs in it yet: start Dockerd and
// Agent. It needs root.
func New(ctx context.Context, dir string, opts Options) (*Machine, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("make lab machine: %w", err)
	}
	if dir, err = makeEmpty(dir); err != nil {
		return nil, fmt.Errorf("make lab machine: %w", err)
	}
	m := &Machine{Dir: dir, opts: opts, cgroup: fmt.Sprintf("ballast-lab-%d-%s", os.Getpid(), filepath.Base(dir))}
	if m.ns, err = openNamespaces(dir, m.cgroup); err != nil {
		return nil, fmt.Errorf("make lab machine in %s: %w", dir, err)
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
	m.closing.Do(func() {
		if err := m.ns.close(); err != nil {
			m.closed = fmt.Errorf("close lab machine in %s: %w", m.Dir, err)
		}
	})
	return m.closed
}

// Root is where the host finds the machine's files, as long as it is open:
// Root()+"/run/docker.sock" is its Engine's socket.
func (m *Machine) Root() string { return fmt.Sprintf("/proc/%d/root", m.ns.pid) }

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

// Start starts cmd inside the machine; the caller waits for it.
func (m *Machine) Start(cmd *exec.Cmd) error { return m.ns.start(cmd) }

// Listen opens a socket in the machine's network, which this program serves: a test can
// be a server that the machine's programs reach on their loopback. The caller closes it.
func (m *Machine) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return m.ns.listen(ctx, network, address)
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
