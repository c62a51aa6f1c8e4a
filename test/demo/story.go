package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ballast-io/ballast/test/lab"
)

const (
	key   = "foo"
	value = "barbar"
)

// tell tells the whole story. It returns nil only when everything survived.
func tell(ctx context.Context, n *narrator, m *lab.Machine) error {
	if err := prepare(ctx, n, m); err != nil {
		return err
	}
	if err := withoutVolume(ctx, n, m); err != nil {
		return err
	}
	s := &story{narrator: n, machine: m, redis: service{m, "redis"}}
	for _, chapter := range []func(context.Context) error{
		s.create, s.update, s.killRedis, s.removeContainer, s.killAgent, s.afterwards,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	n.table(s.blows)
	return nil
}

// prepare makes the machine a node: agent, Engine, Swarm, image.
func prepare(ctx context.Context, n *narrator, m *lab.Machine) error {
	n.chapter("A machine in miniature")
	n.say("  In %s, with its own mounts, network and processes.", m.Dir)
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"ballast agent", m.Agent.Start},
		{"Docker Engine", m.Dockerd.Start},
		{"a Swarm of one node", m.StartSwarm},
		{"image redis, made of the distribution's package", func(ctx context.Context) error { return m.ImportImage(ctx, "redis", lab.Redis()) }},
	} {
		began := time.Now()
		if err := step.do(ctx); err != nil {
			return err
		}
		n.result("%-50s %s", step.what, seconds(time.Since(began)))
	}
	return nil
}

// withoutVolume is what every tutorial warns of.
func withoutVolume(ctx context.Context, n *narrator, m *lab.Machine) error {
	n.chapter("Without a volume: a memory limit costs the data")
	plain := service{m, "plain"}
	if err := docker(ctx, n, m, "service", "create", "--detach", "--name", plain.name, "redis"); err != nil {
		return err
	}
	if err := plain.awaitFirst(ctx); err != nil {
		return err
	}
	old, err := set(ctx, n, plain)
	if err != nil {
		return err
	}
	if err := docker(ctx, n, m, "service", "update", "--detach", "--limit-memory", "128M", plain.name); err != nil {
		return err
	}
	if _, err := plain.awaitSuccessor(ctx, old); err != nil {
		return err
	}
	got, err := plain.redis(ctx, "get", key)
	if err != nil {
		return err
	}
	n.command("redis-cli get", key)
	n.result("%q: a new container, and the key is gone", got)
	return docker(ctx, n, m, "service", "rm", plain.name)
}

// story is the part in which everything survives.
type story struct {
	*narrator
	machine *lab.Machine
	redis   service
	blows   []blow
}

func (s *story) create(ctx context.Context) error {
	s.chapter("The same with a Ballast volume")
	if err := docker(ctx, s.narrator, s.machine, "volume", "create", "--driver", "ballast", "--opt", "size=1G", "db"); err != nil {
		return err
	}
	err := docker(ctx, s.narrator, s.machine, "service", "create", "--detach", "--name", s.redis.name, "--restart-delay", "0s",
		"--mount", "type=volume,volume-driver=ballast,source=db,target=/data,volume-nocopy=true", "redis")
	if err != nil {
		return err
	}
	if err := s.redis.awaitFirst(ctx); err != nil {
		return err
	}
	_, err = set(ctx, s.narrator, s.redis)
	return err
}

func (s *story) update(ctx context.Context) error {
	s.chapter("An update replaces the container")
	return s.replaced(ctx, "docker service update --limit-memory", func(ctx context.Context, _ string) error {
		return docker(ctx, s.narrator, s.machine, "service", "update", "--detach", "--limit-memory", "128M", s.redis.name)
	})
}

func (s *story) killRedis(ctx context.Context) error {
	s.chapter("Redis crashes")
	return s.replaced(ctx, "kill -9 of the Redis process", func(ctx context.Context, container string) error {
		pid, err := s.machine.Docker(ctx, "inspect", "--format", "{{.State.Pid}}", container)
		if err != nil {
			return err
		}
		s.command("kill -9", pid)
		_, err = s.machine.Output(ctx, "sh", "-c", "kill -9 "+pid) // a shell has kill, also where no program is
		return err
	})
}

func (s *story) removeContainer(ctx context.Context) error {
	s.chapter("Somebody removes the container")
	return s.replaced(ctx, "docker rm -f, and a new container", s.remove)
}

func (s *story) remove(ctx context.Context, container string) error {
	return docker(ctx, s.narrator, s.machine, "rm", "--force", container[:12])
}

// replaced does something that costs the service its container, waits for the
// next one and reads the key back.
func (s *story) replaced(ctx context.Context, what string, do func(ctx context.Context, container string) error) error {
	old, err := s.redis.container(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := do(ctx, old); err != nil {
		return err
	}
	id, err := s.redis.awaitSuccessor(ctx, old)
	if err != nil {
		return err
	}
	away := time.Since(began)
	if err := s.readBack(ctx); err != nil {
		return fmt.Errorf("after %s: %w", what, err)
	}
	s.result("read in the new container %s, %s after the old one's end began", id[:12], seconds(away))
	s.blows = append(s.blows, blow{what, key + "=" + value, seconds(away)})
	return nil
}

// readBack returns nil when the key is still what it was set to.
func (s *story) readBack(ctx context.Context) error {
	s.command("redis-cli get", key)
	got, err := s.redis.redis(ctx, "get", key)
	if err != nil {
		return err
	}
	s.result("%q", got)
	if got != value {
		return fmt.Errorf("%s is %q; it was set to %q", key, got, value)
	}
	return nil
}

func set(ctx context.Context, n *narrator, s service) (container string, err error) {
	n.command("redis-cli set", key, value)
	if container, err = s.container(ctx); err != nil {
		return "", err
	}
	got, err := s.redisIn(ctx, container, "set", key, value)
	n.result("%s", got)
	return container, err
}

// docker shows a Docker command and runs it.
func docker(ctx context.Context, n *narrator, m *lab.Machine, args ...string) error {
	n.command(append([]string{"docker"}, args...)...)
	out, err := m.Docker(ctx, args...)
	if err == nil && strings.TrimSpace(out) != "" {
		n.result("%s", strings.Split(out, "\n")[0])
	}
	return err
}
