package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// agent is the machine's Ballast agent, with its data below ballast/ in the
// machine's folder.
func (m *Machine) agent() *Daemon {
	argv := []string{m.ballast(), "agent", "--data", m.Path("ballast"), "--node", m.opts.Node}
	return &Daemon{
		name:    "agent",
		machine: m,
		argv:    append(argv, m.opts.AgentArgs...),
		env:     m.opts.AgentEnv,
		answers: func(ctx context.Context) error {
			_, err := m.Ballast(ctx, "volume", "ls")
			return err
		},
	}
}

// AgentSocket is where the agent's API listens.
func (m *Machine) AgentSocket() string { return m.Path("ballast", "agent.sock") }

// ballast is the machine's own copy of the binary: a build in the middle of a
// test does not change what runs.
func (m *Machine) ballast() string { return m.Path("bin", "ballast") }

func (m *Machine) installBallast() error {
	if err := os.Mkdir(m.Path("bin"), 0o755); err != nil {
		return err
	}
	if err := copyProgram(m.opts.Ballast, m.ballast()); err != nil {
		return fmt.Errorf("install the binary of Ballast (is it built? \"make build\"): %w", err)
	}
	return nil
}

func copyProgram(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // read-only: nothing to lose
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
