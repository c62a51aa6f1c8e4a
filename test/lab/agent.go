package lab

import "context"

// agent is the machine's Ballast agent, with its data below ballast/ in the
// machine's folder.
func (m *Machine) agent() *Daemon {
	argv := []string{m.opts.Ballast, "agent", "--data", m.Path("ballast"), "--node", m.opts.Node}
	return &Daemon{
		name:    "agent",
		machine: m,
		argv:    append(argv, m.opts.AgentArgs...),
		answers: func(ctx context.Context) error {
			_, err := m.Ballast(ctx, "volume", "ls")
			return err
		},
	}
}

// AgentSocket is where the agent's API listens.
func (m *Machine) AgentSocket() string { return m.Path("ballast", "agent.sock") }
