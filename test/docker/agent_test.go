package docker

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"

	"github.com/ballast-io/ballast/test/lab"
)

// onAgent is Ballast itself.
type onAgent struct{ m *lab.Machine }

func (onAgent) driver() string { return "ballast" }

// volume is what ballast says of a volume, as far as tests look.
type volume struct {
	Name       string   `json:"name"`
	State      string   `json:"state"`
	SizeBytes  uint64   `json:"size_bytes"`
	Mountpoint string   `json:"mountpoint"`
	Holders    []string `json:"holders"`
	Engine     *struct {
		PID int `json:"pid"`
	} `json:"engine"`
}

// volumes runs a ballast command that lists volumes.
func (b onAgent) volumes(t *testing.T, args ...string) []volume {
	t.Helper()
	out, err := b.m.Ballast(t.Context(), append(args, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Volumes []volume `json:"volumes"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("ballast %q: %v in %s", args, err, out)
	}
	return list.Volumes
}

func (b onAgent) inspect(t *testing.T, name string) volume {
	t.Helper()
	found := b.volumes(t, "volume", "inspect", name)
	if len(found) != 1 {
		t.Fatalf("ballast volume inspect %s: %d volumes; want 1", name, len(found))
	}
	return found[0]
}

func (b onAgent) held(t *testing.T, name string) int { return len(b.inspect(t, name).Holders) }

func (b onAgent) removeBehindDocker(t *testing.T, name string) {
	t.Helper()
	if _, err := b.m.Ballast(t.Context(), "volume", "rm", name); err != nil {
		t.Fatal(err)
	}
}

func (b onAgent) hold(t *testing.T, name, holder string) {
	t.Helper()
	if _, err := b.m.Ballast(t.Context(), "volume", "attach", name, "--holder", holder); err != nil {
		t.Fatal(err)
	}
}

func (b onAgent) letGo(t *testing.T, name, holder string) {
	t.Helper()
	if _, err := b.m.Ballast(t.Context(), "volume", "detach", name, "--holder", holder); err != nil {
		t.Fatal(err)
	}
}

// signal sends a signal to a volume's engine.
func (b onAgent) signal(t *testing.T, name, signal string) {
	t.Helper()
	var pid int
	eventually(t, "ballast knows the engine of "+name, func() bool {
		v := b.inspect(t, name)
		if v.Engine != nil {
			pid = v.Engine.PID
		}
		return pid > 1 // 0 would be whoever asks
	})
	if _, err := b.m.Output(t.Context(), "kill", "-s", signal, strconv.Itoa(pid)); err != nil {
		t.Fatal(err)
	}
}

// newAgentEngine is newEngine for a test that is about the agent itself.
func newAgentEngine(t *testing.T) (engine, onAgent) {
	t.Helper()
	e := newEngine(t)
	b := onAgent{e.m}
	b.need(t)
	return e, b
}

// need fails a test whose agent does not run.
func (b onAgent) need(t *testing.T) {
	t.Helper()
	if shared.agent != nil {
		t.Fatalf("the agent does not run: %v", shared.agent)
	}
}

// trashed says whether a removed volume is in the trash.
func (b onAgent) trashed(t *testing.T, name string) bool {
	t.Helper()
	return slices.ContainsFunc(b.volumes(t, "volume", "ls", "--trash"), func(v volume) bool { return v.Name == name })
}
