package lab

import (
	"context"
	"os"
)

// dockerd is the machine's Docker Engine: the distribution's, with its own
// folders and sockets and none of the host's configuration.
func (m *Machine) dockerd(ctx context.Context) (*Daemon, error) {
	config := m.Path("daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	argv := []string{
		"dockerd",
		"--config-file", config,
		"--data-root", m.Path("docker"),
		"--exec-root", "/run/docker",
		"--exec-opt", "native.cgroupdriver=cgroupfs",
		"--cgroup-parent", "/" + m.cgroup,
		"--shutdown-timeout", "5",
	}
	if _, err := m.Output(ctx, "iptables", "-w", "-t", "nat", "-n", "-L"); err != nil {
		// A kernel without NAT: containers get no network, and need none.
		argv = append(argv, "--iptables=false", "--bridge=none")
	}
	return &Daemon{
		name:    "dockerd",
		machine: m,
		argv:    append(argv, m.opts.DockerdArgs...),
		answers: func(ctx context.Context) error {
			_, err := m.Docker(ctx, "version")
			return err
		},
	}, nil
}

// StartSwarm makes the machine's Engine a Swarm of one node.
func (m *Machine) StartSwarm(ctx context.Context) error {
	// A node tells the scheduler every 20 seconds which volume drivers it has,
	// and has those that were asked before: ask, and need not wait.
	if _, err := m.Docker(ctx, "volume", "ls"); err != nil {
		return err
	}
	_, err := m.Docker(ctx, "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
	return err
}
