package agent

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ballast-io/ballast"
)

// What a node uses where it is not told otherwise.
const (
	DefaultDataDir      = "/var/lib/ballast"
	DefaultDockerSocket = "/var/run/docker.sock"
	DefaultPluginSocket = "/run/docker/plugins/ballast.sock"
	DefaultTrashKeep    = 72 * time.Hour
)

// Config says how a node's agent runs. Only DataDir is needed; see each field
// for what its zero value means.
type Config struct {
	DataDir      string         // everything the node keeps
	Node         ballast.NodeID // empty: the host name
	DockerSocket string         // the Engine API, asked who uses a volume; empty: nobody is asked, and every hold counts
	PluginSocket string         // where Docker finds the volume driver; empty: no driver is served
	TrashKeep    time.Duration  // how long a removed volume can be restored; 0: DefaultTrashKeep
	LogCapacity  int64          // bytes of log per volume; 0: the engine's default
	Executable   string         // the binary that runs engines; empty: this one
	Version      string         // shown by status
	Log          *slog.Logger   // nil: nothing is logged
}

func (c Config) withDefaults() (Config, error) {
	if c.DataDir == "" {
		return c, fmt.Errorf("start agent: no data folder given: %w", ballast.ErrInvalid)
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return c, fmt.Errorf("start agent: data folder: %w", err)
	}
	c.DataDir = dir
	if c.TrashKeep == 0 {
		c.TrashKeep = DefaultTrashKeep
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c.withIdentity()
}

func (c Config) withIdentity() (Config, error) {
	if c.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("start agent: find the node's name: %w", err)
		}
		c.Node = ballast.NodeID(host)
	}
	if c.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return c, fmt.Errorf("start agent: find the engine's binary: %w", err)
		}
		c.Executable = exe
	}
	return c, nil
}
