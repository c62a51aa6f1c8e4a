package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/archiver/verify"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/quiet"
	"github.com/ballast-io/ballast/internal/vfs"
)

// node keeps the volumes of one machine.
type node struct {
	cfg     Config
	log     *slog.Logger
	records *cluster.Records
	engines engines
	devices devices
	docker  containers
	users   users
	disk    vfs.FS // the data folder
	boot    string // the id of this boot
	started time.Time
	health  *health
	quiet   *quiet.Log
	meters  *meters

	adopted chan struct{}              // closed when what the last agent left is taken over
	work    chan func(context.Context) // to be done in goroutines of Run
	ended   chan struct{}              // closed when Run takes no more work

	// The other nodes, and what is theirs here.
	session   *session
	following following
	peers     peers

	// The archiver; see wireArchiver.
	vault    *archiver.Vault
	writers  *archiver.Writers
	keeper   *archiver.Keeper
	sources  *archiver.Sources
	removals archiver.Removals
	verifier *verify.Verifier

	// The cluster; see cluster_network.go.
	links      *links
	publishing sync.Mutex              // held while the node takes on an identity
	joined     chan struct{}           // closed when the node is another cluster's from now on
	refused    atomic.Bool             // other nodes do not let this one in
	givenUp    atomic.Pointer[givenUp] // another node went on without this one; nil: none did
	sightings  sightings
	steady     steadiness
	awaited    awaited
	used       usages

	mu     sync.Mutex // guards everything below; never held across I/O
	slots  map[ballast.VolumeID]*slot
	making map[ballast.VolumeID]bool // their files are there, and their records not yet
}

func newNode(cfg Config, disk vfs.FS, records *cluster.Records, e engines, d devices, c containers) (*node, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("start agent: find out this boot of the machine: %w", err)
	}
	keeper, err := lease.Keep(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	n := &node{
		session: newSession(keeper), users: processUsers{},
		cfg: cfg, log: cfg.Log, records: records, engines: e, devices: d, docker: c, disk: disk,
		boot:    strings.TrimSpace(string(boot)),
		started: time.Now(),
		health:  newHealth(),
		quiet:   quiet.NewLog(cfg.Log),
		meters:  newMeters(),
		adopted: make(chan struct{}),
		work:    make(chan func(context.Context)),
		ended:   make(chan struct{}),
		links:   newLinks(), joined: make(chan struct{}),
		sightings: sightings{seen: map[ballast.NodeID]sighting{}},
		steady:    steadiness{seen: map[ballast.VolumeID]steadyRecord{}},
		slots:     map[ballast.VolumeID]*slot{},
		making:    map[ballast.VolumeID]bool{},
	}
	n.peers = httpPeers{n.client}
	n.following = n.newFollowing()
	n.wireArchiver(n.opener().Open)
	return n, nil
}

// Where things are below the data folder. The mountpoint has the volume's name,
// for people; everything else goes by the id, which is never used twice.
const (
	volumesDir = "volumes"
	mountsDir  = "mnt"
	recordsDir = "records"
	deviceName = "dev/volume"
)

func volumeDir(id ballast.VolumeID) string { return volumesDir + "/" + string(id) }

func (n *node) path(elem ...string) string {
	return filepath.Join(append([]string{n.cfg.DataDir}, elem...)...)
}

func (n *node) mountpoint(name string) string { return n.path(mountsDir, name) }

// slot returns the slot of a volume, making it when the node has none yet.
func (n *node) slot(id ballast.VolumeID) *slot {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.slots[id]
	if s == nil {
		s = newSlot(id, attachmentState{Version: attachmentVersion, BootID: n.boot})
		n.slots[id] = s
	}
	return s
}

// peek returns the slot of a volume, or nil.
func (n *node) peek(id ballast.VolumeID) *slot {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.slots[id]
}

func (n *node) allSlots() []*slot {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*slot, 0, len(n.slots))
	for _, s := range n.slots {
		all = append(all, s)
	}
	return all
}

// do has f run in a goroutine of Run, whose context it gets. It reports false
// when the node is ending.
func (n *node) do(f func(context.Context)) bool {
	select {
	case n.work <- f:
		return true
	case <-n.ended:
		return false
	}
}

// remember stores what the node knows of an attachment, on disk and then here.
// The caller has the slot's lock.
func (n *node) remember(s *slot, state attachmentState) error {
	state.Version, state.BootID = attachmentVersion, n.boot
	if err := saveAttachment(n.disk, s.dir, state); err != nil {
		return fmt.Errorf("note who holds the volume: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
	return nil
}

// waitAdopted waits until the node knows what is attached.
func (n *node) waitAdopted(ctx context.Context) error {
	select {
	case <-n.adopted:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the agent is still taking over what the last one left: %w", ballast.ErrNotReady)
	}
}
