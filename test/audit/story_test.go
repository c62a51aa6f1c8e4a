package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// TestRedisService loses a key of a Redis service to an update, as the audit said
// beforehand; does what the audit says to type; and keeps the key from then on.
func TestRedisService(t *testing.T) {
	m := labtest.Start(t, lab.Options{})
	ctx := t.Context()
	must(t, m.ImportImage(ctx, "redis", lab.Redis()))
	must(t, m.StartSwarm(ctx))
	docker(t, m, "service", "create", "--detach", "--name", "redis", "redis")
	r := &redis{m: m}

	r.await(t, "SET", "foo", "barbar")
	found := r.awaitFinding(t)
	if found.Gravity != "lost" || found.Path != "/data" || found.Owner != "redis" || found.Class != "primary" {
		t.Errorf("audit = %+v; want /data of service redis, lost, primary", found)
	}
	docker(t, m, "service", "update", "--detach", "--limit-memory", "64m", "redis")
	r.awaitNext(t)
	if got := r.await(t, "GET", "foo"); got != "" {
		t.Errorf("after the update foo = %q; want nothing, as the audit said", got)
	}

	for _, line := range found.Instead {
		if out, err := m.Output(ctx, "sh", "-c", line+" --detach"); err != nil {
			t.Fatalf("%s: %v %s", line, err, out)
		}
	}
	r.awaitNext(t)
	r.await(t, "SET", "foo", "barbar")
	if report, code := audit(ctx, t, m); code != 0 {
		t.Errorf("audit = %d %+v; want nothing found", code, report)
	}
	docker(t, m, "service", "update", "--detach", "--limit-memory", "80m", "redis")
	r.awaitNext(t)
	if got := r.await(t, "GET", "foo"); got != "barbar" {
		t.Errorf("after the next update foo = %q; want barbar", got)
	}
	docker(t, m, "service", "rm", "redis")
}

// redis talks to the service's one task.
type redis struct {
	m    *lab.Machine
	task string // the container that answered last
}

// await repeats a command until a task answers it.
func (r *redis) await(t *testing.T, command ...string) (answer string) {
	t.Helper()
	must(t, lab.Poll(t.Context(), "Redis to answer", func(ctx context.Context) error {
		task, err := r.running(ctx)
		if err != nil {
			return err
		}
		answer, err = r.m.Docker(ctx, append([]string{"exec", task, "redis-cli", "-e"}, command...)...)
		r.task = task
		return err
	}))
	return answer
}

// awaitNext waits until another container than the one that answered last is the
// only one.
func (r *redis) awaitNext(t *testing.T) {
	t.Helper()
	must(t, lab.Poll(t.Context(), "the service's next task", func(ctx context.Context) error {
		task, err := r.running(ctx)
		if err == nil && task == r.task {
			err = fmt.Errorf("%s still runs", task)
		}
		return err
	}))
}

// running is the one container that runs.
func (r *redis) running(ctx context.Context) (string, error) {
	out, err := r.m.Docker(ctx, "ps", "-q", "--filter", "label=com.docker.swarm.service.name=redis")
	if err == nil && len(strings.Fields(out)) != 1 {
		err = fmt.Errorf("containers %q run; want one", strings.Fields(out))
	}
	return out, err
}

// awaitFinding is the only thing that the audit finds, once Redis has written it.
func (r *redis) awaitFinding(t *testing.T) (found finding) {
	t.Helper()
	must(t, lab.Poll(t.Context(), "the audit to find one thing", func(ctx context.Context) error {
		report, code := audit(ctx, t, r.m)
		if code != 6 || len(report.Findings) != 1 {
			return fmt.Errorf("audit = %d %+v", code, report)
		}
		found = report.Findings[0]
		return nil
	}))
	return found
}

// report is what "ballast audit --json" prints.
type report struct{ Findings []finding }

type finding struct {
	Gravity, Owner, Path, Class string
	Instead                     []string
}

// audit runs the command, and returns what it found and its exit code.
func audit(ctx context.Context, t *testing.T, m *lab.Machine) (r report, code int) {
	t.Helper()
	out, err := m.Ballast(ctx, "audit", "--json")
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = exit.ExitCode(), nil
	}
	must(t, err)
	must(t, json.Unmarshal([]byte(out), &r))
	return r, code
}

func docker(t *testing.T, m *lab.Machine, args ...string) {
	t.Helper()
	if out, err := m.Docker(t.Context(), args...); err != nil {
		t.Fatalf("docker %s: %v %s", strings.Join(args, " "), err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
