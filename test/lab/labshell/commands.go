package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/test/lab"
)

// command is something to type at the prompt.
type command struct {
	name, args, help string
	run              func(ctx context.Context, s *shell, args []string) error
}

// commands are all there are, in the order of the help.
func commands() []command {
	return []command{
		{"cut", "NODE NODE", "nothing gets through between two nodes", onTwo((*lab.Cluster).Cut)},
		{"cut-one-way", "NODE NODE", "nothing gets through from the first to the second", onTwo((*lab.Cluster).CutOneWay)},
		{"isolate", "NODE", "nothing gets through to and from a node", onOne(func(ctx context.Context, c *lab.Cluster, n *lab.Node) error { return c.Isolate(ctx, n) })},
		{"slow", "NODE NODE DELAY [BYTES/S]", "every packet takes longer, as in: slow n1 n2 20ms 10M", slow},
		{"lossy", "NODE NODE SHARE", "packets get lost, as in: lossy n1 n2 0.05", lossy},
		{"heal", "", "nothing is wrong with the network any more", func(ctx context.Context, s *shell, _ []string) error { return s.c.Heal(ctx) }},
		{"kill", "NODE", "switch a machine off; what was written and not synced is kept", onOne(func(ctx context.Context, _ *lab.Cluster, n *lab.Node) error { return n.PowerOff(ctx) })},
		{"power-cut", "NODE", "switch a machine off; what was not synced is lost", onOne(func(ctx context.Context, _ *lab.Cluster, n *lab.Node) error { return n.CutPower(ctx) })},
		{"on", "NODE", "switch a machine on and start its agent", onOne(func(ctx context.Context, _ *lab.Cluster, n *lab.Node) error { return n.PowerOn(ctx) })},
		{"stop", "NODE", "stop every process of a machine in its tracks", onOne(func(ctx context.Context, _ *lab.Cluster, n *lab.Node) error { return n.Stop(ctx) })},
		{"continue", "NODE", "let a stopped machine go on", onOne(func(ctx context.Context, _ *lab.Cluster, n *lab.Node) error { return n.Continue(ctx) })},
		{"kill-agent", "NODE", "end the agent alone", onOne(func(ctx context.Context, _ *lab.Cluster, n *lab.Node) error { return n.Agent.Kill(ctx) })},
		{"start-agent", "NODE", "start the agent", onOne(startAgent)},
		{"fill", "NODE", "leave a megabyte of a node's disk", onOne(func(_ context.Context, _ *lab.Cluster, n *lab.Node) error { return n.FillDisk(1 << 20) })},
		{"free", "NODE", "give that room back", onOne(func(_ context.Context, _ *lab.Cluster, n *lab.Node) error { return n.FreeDisk() })},
		{"docker", "NODE", "start a Docker Engine with the image busybox", onOne(startDocker)},
		{"help", "", "show this", help},
	}
}

func help(_ context.Context, s *shell, _ []string) error {
	fmt.Fprintf(s.out, "  %-34s %s\n", "NODE [COMMAND …]", "run a command on a node, or a shell")
	for _, c := range commands() {
		fmt.Fprintf(s.out, "  %-34s %s\n", c.name+" "+c.args, c.help)
	}
	fmt.Fprintf(s.out, "  %-34s %s\n", "exit", "end all of it")
	return nil
}

// node finds a node by name.
func (s *shell) node(name string) (*lab.Node, error) {
	if n := s.c.Node(name); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("no node is called %q", name)
}

func onOne(do func(context.Context, *lab.Cluster, *lab.Node) error) func(context.Context, *shell, []string) error {
	return func(ctx context.Context, s *shell, args []string) error {
		if len(args) != 1 {
			return errors.New("want one node")
		}
		n, err := s.node(args[0])
		if err != nil {
			return err
		}
		return do(ctx, s.c, n)
	}
}

func (s *shell) two(args []string) (a, b *lab.Node, err error) {
	if len(args) < 2 {
		return nil, nil, errors.New("want two nodes")
	}
	a, err = s.node(args[0])
	if err != nil {
		return nil, nil, err
	}
	b, err = s.node(args[1])
	return a, b, err
}

func onTwo(do func(c *lab.Cluster, ctx context.Context, a, b *lab.Node) error) func(context.Context, *shell, []string) error {
	return func(ctx context.Context, s *shell, args []string) error {
		a, b, err := s.two(args)
		if err != nil {
			return err
		}
		return do(s.c, ctx, a, b)
	}
}

func slow(ctx context.Context, s *shell, args []string) error {
	a, b, err := s.two(args)
	if err != nil {
		return err
	}
	if len(args) < 3 {
		return errors.New("want a delay")
	}
	delay, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	var rate int64
	if len(args) > 3 {
		if rate, err = ballast.ParseSize(strings.TrimSuffix(args[3], "/s")); err != nil {
			return err
		}
	}
	return s.c.Slow(ctx, a, b, delay, rate)
}

func lossy(ctx context.Context, s *shell, args []string) error {
	a, b, err := s.two(args)
	if err != nil {
		return err
	}
	if len(args) != 3 {
		return errors.New("want a share between 0 and 1")
	}
	share, err := strconv.ParseFloat(args[2], 64)
	if err != nil {
		return err
	}
	return s.c.Lossy(ctx, a, b, share)
}

func startAgent(_ context.Context, _ *lab.Cluster, n *lab.Node) error {
	return n.Agent.Launch() //nolint:contextcheck // it lives on
}

func startDocker(ctx context.Context, _ *lab.Cluster, n *lab.Node) error {
	if err := n.Dockerd.Start(ctx); err != nil {
		return err
	}
	return n.ImportImage(ctx, "busybox", lab.Busybox())
}
