package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/driver/docker"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Run is a node: it serves the API and the volume driver until ctx ends, and
// then leaves attached volumes as they are, for the next agent to take over.
// It refuses to run where another agent has the data folder.
func Run(ctx context.Context, cfg Config) (err error) {
	tuneRuntime()
	cfg, err = cfg.withDefaults()
	if err != nil {
		return err
	}
	if err := makeFolders(cfg.DataDir); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	lock, err := lockDataDir(cfg.DataDir)
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	disk, err := vfs.OS(cfg.DataDir)
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	if cfg.Node, err = settleName(disk, cfg.Node); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	for {
		// A node that joined a cluster goes on as what it is there.
		err := runOnce(ctx, cfg, disk)
		if !errors.Is(err, errJoined) && !errors.Is(err, errRebuilt) || errors.Is(err, ErrRestart) || ctx.Err() != nil {
			return err
		}
		cfg.ForceNewCluster = false // was for the cluster that it was in
	}
}

// runOnce runs the node until ctx ends, or the node is another cluster's.
func runOnce(ctx context.Context, cfg Config, disk vfs.FS) error {
	err := finishJoining(disk, forgetBelow(cfg.DataDir))
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	if err := finishRebuild(ctx, cfg, disk); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	out, err := loadGivenUp(disk)
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	stored, err := settleCluster(cfg, disk)
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	records := cluster.Open(cluster.Config{
		Dir: filepath.Join(cfg.DataDir, recordsDir), View: disk, Node: cfg.Node, Log: cfg.Log, Lease: cfg.Lease,
		Peering: peeringOf(cfg, stored), External: cfg.external(), Most: cfg.EtcdMembers, GiveUp: cfg.ReplaceAfter, ForceNew: cfg.ForceNewCluster,
		GaveUp: out.asError(),
	})
	n, err := newNode(cfg, disk, records, processEngines{cfg}, kernelDevices{cfg.Log}, whomToAsk(cfg))
	if err != nil {
		return err
	}
	if err := n.openNetwork(); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	n.givenUp.Store(out)
	begun, err := n.rebuild(ctx)
	switch {
	case err != nil:
		return errors.Join(fmt.Errorf("force new cluster: %w", err), n.session.keeper.Close())
	case begun:
		return errors.Join(errRebuilt, n.session.keeper.Close())
	}
	return n.listenAndRun(ctx)
}

func makeFolders(data string) error {
	for _, dir := range []string{"", volumesDir, mountsDir} {
		if err := os.MkdirAll(filepath.Join(data, dir), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func whomToAsk(cfg Config) containers {
	if cfg.DockerSocket == "" {
		return nobodyToAsk{}
	}
	return dockerEngine{cfg.DockerSocket}
}

// listenAndRun opens the sockets, so that callers can wait on them, and runs.
func (n *node) listenAndRun(ctx context.Context) error {
	api, err := listenRoot(ctx, n.cfg.DataDir, socketName)
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	var plugin net.Listener
	if n.cfg.PluginSocket != "" {
		if plugin, err = docker.Listen(ctx, n.cfg.PluginSocket); err != nil {
			return errors.Join(fmt.Errorf("start agent: %w", err), api.Close())
		}
	}
	n.log.Info("agent started", "node", n.cfg.Node, "version", n.cfg.Version, "data_dir", n.cfg.DataDir)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, api, n.handler(), n.log) })
	if plugin != nil {
		driver := docker.New(dockerVolumes{n}, docker.Options{Log: n.log})
		group.Go(func() error { return driver.Run(ctx, plugin) })
	}
	group.Go(func() error { return n.Run(ctx) })
	err = group.Wait()
	n.log.Info("agent ended; attached volumes work on", "error", err)
	return err
}

// Run keeps the volumes until ctx ends.
func (n *node) Run(ctx context.Context) error {
	n.askFormer(ctx) // before anything is attached
	group, ctx := errgroup.WithContext(ctx)
	// Work that is taken back at the end changes records still.
	records, done := context.WithCancel(context.WithoutCancel(ctx))
	var recordsErr error
	group.Go(func() error { recordsErr = n.runRecords(records); return recordsErr })
	group.Go(func() error { return n.runPeers(records) })
	group.Go(func() error { return n.awaitJoined(ctx) })
	group.Go(func() error { n.lookAtCluster(ctx); every(ctx, watchEvery, n.lookAtCluster); return nil })
	group.Go(func() error { defer done(); n.runWork(ctx); return nil })
	group.Go(func() error {
		n.takeOver(ctx)
		n.endAttachments()
		n.reconcile(ctx)
		every(ctx, reconcileEvery, n.reconcile)
		return nil
	})
	group.Go(func() error { every(ctx, watchEvery, n.watch); return nil })
	n.runArchive(ctx, group)
	n.runCopies(ctx, group)
	group.Go(func() error {
		n.tidy(ctx)
		every(ctx, tidyEvery, n.tidy)
		return nil
	})
	err := group.Wait()
	n.sources.DropAll()
	n.vault.Close()
	if errors.Is(err, errJoined) {
		err = errors.Join(err, recordsErr) // which may say that etcd did not end
	}
	return errors.Join(err, n.session.keeper.Close())
}

// runCopies keeps what this node has in common with others.
func (n *node) runCopies(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return n.keepSession(ctx) })
	group.Go(func() error { n.followSessions(ctx); return nil })
	group.Go(func() error { n.follow(ctx); return nil })
	group.Go(func() error { return n.following.Run(ctx) })
}

// runArchive keeps the archive open, and does what is due there.
func (n *node) runArchive(ctx context.Context, group *errgroup.Group) {
	n.verifier.Load(ctx)
	if !n.cfg.archives() {
		return
	}
	group.Go(func() error { n.vault.Run(ctx, n.announcer().Announce); return nil })
	group.Go(func() error { n.keeper.Run(ctx); return nil })
	group.Go(func() error { every(ctx, tidyEvery, n.removals.Tell); return nil })
	if n.cfg.VerifyEvery > 0 {
		group.Go(func() error { n.verifier.Run(ctx, n.cfg.VerifyEvery); return nil })
	}
}

// ErrRestart says that the agent must be started again, and that it is worth it.
var ErrRestart = cluster.ErrRestart

// runRecords keeps the records. When they cannot be kept, the node serves what it
// knows all the same: what is attached must be detached, and Docker asks. It ends
// the node only when the disk was full and no longer is.
func (n *node) runRecords(ctx context.Context) error {
	err := n.records.Run(ctx)
	if err == nil {
		return nil
	}
	n.log.Error("volume records are unavailable; known volumes are still served", "error", err)
	n.noteRecords()
	wasFull := !n.roomForRecords()
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
		if wasFull && n.roomForRecords() {
			return fmt.Errorf("disk has space again: %w", errors.Join(ErrRestart, err))
		}
	}
}

// etcd starts a log segment of 64 MiB before the last one is full.
const recordsRoom = 3 * 64 << 20

func (n *node) roomForRecords() bool {
	_, free, err := diskSpace(n.cfg.DataDir)
	return err == nil && free >= recordsRoom
}

// runWork runs what is handed to the node until ctx ends, and then waits for it
// within a grace: a step that hangs is left to the end of the process.
func (n *node) runWork(ctx context.Context) {
	var work sync.WaitGroup
	for ctx.Err() == nil {
		select {
		case f := <-n.work:
			work.Go(func() { f(ctx) })
		case <-ctx.Done():
		}
	}
	close(n.ended)
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	grace := time.NewTimer(shutdownGrace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		n.log.Warn("a step on a volume hangs and is abandoned; the next agent looks after it")
	}
}
