package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/vfs"
)

// What a node uses where it is not told otherwise.
const (
	DefaultDataDir      = "/var/lib/ballast"
	DefaultDockerSocket = "/var/run/docker.sock"
	DefaultPluginSocket = "/run/docker/plugins/ballast.sock"
	DefaultTrashKeep    = 72 * time.Hour

	DefaultPort         = "7420"
	DefaultLease        = cluster.DefaultLease
	DefaultReplaceAfter = 10 * time.Minute
	DefaultEtcdMembers  = 3

	DefaultArchiveInterval = 5 * time.Second
	DefaultKeep            = "any second for 24h, hourly 7d, daily 30d"
)

// NoArchive is the [Config.Archive] of a node that archives nothing.
const NoArchive = "none"

// Config says how a node's agent runs. Only DataDir is needed; see each field
// for what its zero value means.
type Config struct {
	DataDir      string         // everything the node keeps
	Node         ballast.NodeID // empty: the one it had before, at first the host name
	DockerSocket string         // the Engine API, asked who uses a volume; empty: nobody is asked, and every hold counts
	PluginSocket string         // where Docker finds the volume driver; empty: no driver is served
	TrashKeep    time.Duration  // how long a removed volume can be restored; 0: DefaultTrashKeep
	LogCapacity  int64          // bytes of log per volume; 0: the engine's default
	Executable   string         // the binary that runs engines; empty: this one
	Version      string         // shown by status
	Log          *slog.Logger   // nil: nothing is logged

	Listen       string        // where other nodes are answered, host:port or :port; empty: at the address that the node has in the cluster
	Advertise    string        // where other nodes reach this one, host:port or host; empty: see [node.settleAddress]
	Lease        time.Duration // how long a node may be silent before others take over; 0: [DefaultLease]
	ReplaceAfter time.Duration // how long a node may be away before its copies are made anew; 0: [DefaultReplaceAfter]
	EtcdMembers  int           // nodes that keep the records, at most; 0: [DefaultEtcdMembers]
	Etcd         []string      // URLs of an etcd that is not ours; empty: the nodes keep the records
	EtcdCA       string        // PEM file: the authority of that etcd; empty: the system's
	EtcdCert     string        // PEM file: the certificate to show it
	EtcdKey      string        // PEM file: its key

	// ForceNewCluster says that the other nodes that kept the records are lost for good: this one
	// goes on alone with what it has of them. For one start.
	ForceNewCluster bool

	// Confirm shows an operator what forcing a new cluster from this node's view of the records
	// means, and returns nil when they agree. Without it that is refused.
	Confirm func(ctx context.Context, plan string) error

	Archive                string        // URL of the archive; empty: the folder "archive" in DataDir; [NoArchive]: none
	ArchivePasswordFile    string        // holds the archive's password; empty: DataDir's own, for an archive in DataDir
	ArchivePasswordCommand string        // prints the password, instead of a file
	ArchiveInterval        time.Duration // between two objects of a volume's tail; 0: [DefaultArchiveInterval]
	ArchiveQueue           int64         // bytes per volume that are kept while the archive cannot be reached; 0: 1 GiB
	Keep                   string        // retention of a volume that does not say it; empty: [DefaultKeep]
	VerifyEvery            time.Duration // between two verifications of all volumes; 0: only when asked
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
	if c, err = c.withArchive(); err != nil {
		return c, err
	}
	if c, err = c.withCluster(); err != nil {
		return c, err
	}
	return c.withExecutable()
}

func (c Config) withExecutable() (Config, error) {
	if c.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return c, fmt.Errorf("start agent: find the engine's binary: %w", err)
		}
		c.Executable = exe
	}
	return c, nil
}

// nameFile keeps the node's name.
const nameFile = "node"

// settleName returns the node's name, which stays what it was at the first start:
// the records say by name who holds a volume, and a host may be renamed. Asking for
// another is refused.
func settleName(disk vfs.FS, asked ballast.NodeID) (ballast.NodeID, error) {
	stored, err := vfs.ReadFile(disk, nameFile, 1<<10)
	name := ballast.NodeID(strings.TrimSpace(string(stored)))
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && name == "":
		return firstName(disk, asked)
	case err != nil:
		return "", fmt.Errorf("read the node's name: %w", err)
	case asked != "" && asked != name && isUnused(disk):
		return firstName(disk, asked) // nobody knows it by the name it had
	case asked != "" && asked != name:
		return "", fmt.Errorf("this data folder is that of node %q, not %q; leave --node out, or choose another folder with --data: %w", name, asked, ballast.ErrInvalid)
	}
	return name, nil
}

// isUnused reports whether the node has no volume and no cluster that knows its name, so that
// one whose name is taken where it joins can have another. Its records name nobody then.
func isUnused(disk vfs.FS) bool {
	folders, err := disk.List(volumesDir)
	if err != nil || len(folders) > 0 {
		return false
	}
	_, err = identity.Load(disk, identity.Dir)
	_, joining := vfs.ReadFile(disk, joiningFile, maxJoining)
	return errors.Is(err, fs.ErrNotExist) && errors.Is(joining, fs.ErrNotExist)
}

func firstName(disk vfs.FS, asked ballast.NodeID) (ballast.NodeID, error) {
	if asked == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("find the node's name: %w", err)
		}
		asked = ballast.NodeID(host)
	}
	if err := ballast.CheckVolumeName(string(asked)); err != nil {
		return "", fmt.Errorf("node name %.64q: a name has letters, digits, '_', '.' and '-'; give one with --node: %w", asked, ballast.ErrInvalid)
	}
	return asked, vfs.ReplaceFile(disk, nameFile, []byte(asked+"\n"))
}
