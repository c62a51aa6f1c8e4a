package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ballast-io/ballast/test/lab"
)

// service is a Swarm service of one Redis.
type service struct {
	machine *lab.Machine
	name    string
}

// container is the service's running container, other than those in not.
func (s service) container(ctx context.Context, not ...string) (string, error) {
	out, err := s.machine.Docker(ctx, "ps", "--quiet", "--no-trunc", "--filter", "label=com.docker.swarm.service.name="+s.name)
	if err != nil {
		return "", err
	}
	for id := range strings.FieldsSeq(out) {
		if !strings.Contains(strings.Join(not, " "), id) {
			return id, nil
		}
	}
	return "", errors.New("no container of it runs")
}

// redis runs a Redis command in the service's container.
func (s service) redis(ctx context.Context, words ...string) (string, error) {
	id, err := s.container(ctx)
	if err != nil {
		return "", err
	}
	return s.redisIn(ctx, id, words...)
}

func (s service) redisIn(ctx context.Context, id string, words ...string) (string, error) {
	out, err := s.machine.Docker(ctx, append([]string{"exec", id, "redis-cli", "--raw"}, words...)...)
	if err == nil && refused(out) {
		err = fmt.Errorf("redis says: %s", out)
	}
	return out, err
}

// refused reports whether what redis-cli printed is no answer.
func refused(reply string) bool {
	for _, sign := range []string{"Could not connect", "LOADING", "ERR ", "MISCONF", "Error:"} {
		if strings.HasPrefix(reply, sign) {
			return true
		}
	}
	return false
}

// awaitSuccessor waits until a container other than old answers, and returns
// it.
func (s service) awaitSuccessor(ctx context.Context, old string) (id string, err error) {
	err = lab.Poll(ctx, "a new container of "+s.name+" to answer", func(ctx context.Context) error {
		if id, err = s.container(ctx, old); err != nil {
			return err
		}
		_, err = s.redisIn(ctx, id, "ping")
		return err
	})
	return id, err
}

// awaitFirst waits until the service answers at all.
func (s service) awaitFirst(ctx context.Context) error {
	_, err := s.awaitSuccessor(ctx, "")
	if err == nil {
		return nil
	}
	tasks, _ := s.machine.Docker(ctx, "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", s.name)
	return fmt.Errorf("%w\n%s", err, tasks)
}
