package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ballast-io/ballast/internal/archive/store/s3test"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/labtest"
)

// storeAddress is where a machine finds the store: on its own loopback, where this program
// listens, and passes on what comes, or not.
const storeAddress = "127.0.0.1:7070"

// vault is a store that several machines share, and the archive's password.
type vault struct {
	server   *s3test.Server
	password string
}

func newVault(t *testing.T) vault {
	t.Helper()
	labtest.Require(t)
	return vault{s3test.Run(t), passwordFile(t)}
}

func passwordFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte("correct horse battery staple\n"), 0o600))
	return file
}

// node is a machine with an agent, and its way to the store.
type node struct {
	*lab.Machine
	t     *testing.T
	proxy *s3test.Proxy // nil: its archive is a folder
}

// machine starts a machine that archives often, to the vault.
func (v vault) machine(t *testing.T, args ...string) *node {
	t.Helper()
	url := "s3://" + s3test.Bucket + "/prod?endpoint=http://" + storeAddress + "&region=us-east-1&path_style=true"
	m := labtest.New(t, lab.Options{AgentArgs: append([]string{
		"--archive", url, "--archive-password-file", v.password, "--archive-interval", "200ms",
	}, args...)})
	must(t, os.Mkdir(m.Path(".aws"), 0o700))
	must(t, os.WriteFile(m.Path(".aws", "credentials"), []byte(v.server.Credentials()), 0o600))
	n := &node{Machine: m, t: t, proxy: s3test.NewProxyAt(t, v.server, storeAddress, m.Listen)}
	must(t, m.Agent.Start(t.Context()))
	return n
}

// do runs a command that must succeed.
func (n *node) do(args ...string) string {
	n.t.Helper()
	return ballast(n.t, n.Machine, args...)
}

// attach returns where the test finds the files of a volume.
func (n *node) attach(volume string) string {
	n.t.Helper()
	return n.Root() + n.do("volume", "attach", volume)
}

// eventually polls real state.
func (n *node) eventually(what string, ask func() error) {
	n.t.Helper()
	must(n.t, lab.Poll(n.t.Context(), what, func(context.Context) error { return ask() }))
}

// volumeState is what inspect says of a volume, as far as it is about the archive.
type volumeState struct {
	ID         string      `json:"id"`
	Archive    archived    `json:"archive"`
	Hydration  hydration   `json:"hydration"`
	Conditions []condition `json:"conditions"`
	Engine     struct {
		PID int `json:"pid"`
	} `json:"engine"`
}

type archived struct {
	Until        time.Time  `json:"archived_until"`
	Queued       int64      `json:"queued_bytes"`
	Behind       *time.Time `json:"behind_since"`
	Error        string     `json:"error"`
	LastSnapshot time.Time  `json:"last_snapshot"`
	Gaps         []struct {
		From  *time.Time `json:"from"`
		Until *time.Time `json:"until"`
	} `json:"gaps"`
}

type hydration struct {
	Total   int64  `json:"total_bytes"`
	Missing int64  `json:"missing_bytes"`
	Error   string `json:"error"`
}

type condition struct {
	Code  string `json:"code"`
	Title string `json:"title"`
}

func (n *node) inspect(volume string) volumeState {
	n.t.Helper()
	var out struct{ Volumes []volumeState }
	must(n.t, json.Unmarshal([]byte(n.do("volume", "inspect", volume, "--json")), &out))
	if len(out.Volumes) != 1 {
		n.t.Fatalf("inspect shows %d volumes; want one", len(out.Volumes))
	}
	return out.Volumes[0]
}

// has returns why a volume has no condition of a code.
func (v volumeState) has(code string) error {
	if !slices.ContainsFunc(v.Conditions, func(c condition) bool { return c.Code == code }) {
		return fmt.Errorf("the volume has the conditions %v", v.Conditions)
	}
	return nil
}

// archivedSince waits until what was flushed at a moment is archived.
func (n *node) archivedSince(volume string, at time.Time) {
	n.t.Helper()
	n.eventually("the archive to have everything", func() error {
		a := n.inspect(volume).Archive
		switch {
		case a.Until.Before(at):
			return fmt.Errorf("it has what was there at %v, %v was flushed: %s", a.Until, at, a.Error)
		case a.Behind != nil:
			return fmt.Errorf("archiving fails since %v: %s", a.Behind, a.Error)
		}
		return nil
	})
}

// based waits until a volume has a base snapshot.
func (n *node) based(volume string) {
	n.t.Helper()
	n.eventually("the first base snapshot", func() error {
		if n.inspect(volume).Archive.LastSnapshot.IsZero() {
			return errors.New("there is none")
		}
		return nil
	})
}

// history is what can be restored.
type history struct {
	Snapshots []struct {
		ID   string   `json:"id"`
		Tags []string `json:"tags"`
	} `json:"snapshots"`
	AnySecond []struct {
		From  time.Time `json:"from"`
		Until time.Time `json:"until"`
	} `json:"any_second"`
	Problems []string `json:"problems"`
}

func (n *node) history(volume string) (h history) {
	n.t.Helper()
	must(n.t, json.Unmarshal([]byte(n.do("volume", "history", volume, "--json")), &h))
	return h
}

// refused runs a command that must fail, and returns what it says.
func (n *node) refused(args ...string) string {
	n.t.Helper()
	out, err := n.Ballast(n.t.Context(), args...)
	if err == nil {
		n.t.Fatalf("%s succeeded: %s", strings.Join(args, " "), out)
	}
	return err.Error()
}

// killAll ends the agent and the engines of volumes, as far as processes go as a power cut
// would.
func (n *node) killAll(volumes ...string) {
	n.t.Helper()
	kill := []string{"-s", "KILL"}
	for _, volume := range volumes {
		pid := n.inspect(volume).Engine.PID
		if pid == 0 {
			n.t.Fatalf("volume %s has no engine", volume)
		}
		kill = append(kill, fmt.Sprint(pid))
	}
	must(n.t, n.Agent.Kill(n.t.Context()))
	_, err := n.Output(n.t.Context(), "/bin/kill", kill...)
	must(n.t, err)
}
