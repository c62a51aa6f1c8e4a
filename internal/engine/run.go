package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/device"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/replica"
	"github.com/ballast-io/ballast/internal/replica/stream"
	"github.com/ballast-io/ballast/internal/vfs"
	"github.com/ballast-io/ballast/internal/volume"
)

// Names in a volume's folder.
const (
	deviceDir  = "dev"
	socketName = "engine.sock"
	lockName   = "lock"
	logName    = "engine.log"
)

// Config says what an engine serves and how.
type Config struct {
	Dir         string        // the volume's folder
	Epoch       ballast.Epoch // higher than at every earlier start
	LogCapacity int64         // bytes; 0 leaves it to the volume
	Queue       int64         // bytes of the log kept for readers, the archive first; 0 keeps none
	Agent       string        // path of the agent's socket, to fetch missing chunks and to change the record; "": there is none
	Executable  string        // what Spawn starts; "" is the running program
	Log         *slog.Logger  // of Run; nil discards

	Node     ballast.NodeID  // this node
	Lease    string          // path of the node's lease; "": there is none
	Identity string          // folder of who this node is to others; "": nobody else is spoken to
	Members  replica.Members // what the volume's record says of its copies at the start; without an epoch: nothing

	Settle time.Duration // how long the end waits for other copies to have the last records; 0: 15 s
}

func (c Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// options are how Run opens the volume.
func (e *engine) options(id ballast.VolumeID) volume.Options {
	o := volume.Options{Epoch: e.cfg.Epoch, LogCapacity: e.cfg.LogCapacity, Queue: e.cfg.Queue, Log: e.log}
	if e.cfg.Agent != "" {
		o.Source = newSource(e.cfg.Agent, id)
	}
	if e.hub != nil {
		o.Shipper, o.Unsettled = shipper{e.hub, e.gate}, e.cfg.hollow()
	}
	return o
}

// DeviceFile returns the path of the file that the engine of a volume's folder serves.
func DeviceFile(dir string) string { return filepath.Join(dir, deviceDir, device.FileName) }

// engine is a running engine.
type engine struct {
	cfg    Config
	log    *slog.Logger
	volume *volume.Volume
	gate   *gate
	hub    *stream.Hub // nil: no other node can ever have a copy
	stall  atomic.Pointer[string]
	server *device.Server
	socket *control // nil until it is open
	fuse   uint64   // device number of the FUSE filesystem

	stopped chan struct{} // closed when everything is flushed and closed
	outcome error         // of that; set before stopped is closed
}

// Run serves the volume in cfg.Dir until it is stopped through its socket, or ctx ends
// and its file is released (N2). The caller is the main goroutine of a process
// of its own: Run changes what the whole process is to the kernel.
func Run(ctx context.Context, cfg Config) (err error) {
	ready := inheritedPipe()
	defer func() { ready.tell(err) }()
	if cfg.Members, err = inheritedMembers(cfg.Members); err != nil {
		return fmt.Errorf("start engine in %s: %w", cfg.Dir, err)
	}
	unlock, err := Lock(cfg.Dir)
	if err != nil {
		return fmt.Errorf("start engine in %s: %w", cfg.Dir, err)
	}
	defer unlock()
	protect(cfg.log())
	tuneRuntime()
	disk, err := vfs.OS(cfg.Dir)
	if err != nil {
		return fmt.Errorf("start engine in %s: %w", cfg.Dir, err)
	}
	defer disk.Close() // every file in it is closed by then
	id, err := volume.ReadIdentity(disk, ".")
	if err != nil {
		return fmt.Errorf("start engine in %s: %w", cfg.Dir, err)
	}
	view, closeView, err := cfg.openLease()
	if err != nil {
		return fmt.Errorf("start engine in %s: %w", cfg.Dir, err)
	}
	defer closeView()
	e := &engine{cfg: cfg, log: cfg.log(), stopped: make(chan struct{})}
	e.gate = newGate(nil, cfg.Node, cfg.Epoch, view, e.log)
	e.hub = e.newHub(id.ID)
	if e.volume, err = volume.Open(disk, ".", e.options(id.ID)); err != nil {
		return fmt.Errorf("start engine in %s: %w", cfg.Dir, err)
	}
	e.gate.store = e.volume
	if err := e.setMembers(cfg.members()); err != nil {
		return fmt.Errorf("start engine in %s: %w", cfg.Dir, errors.Join(err, e.volume.Close()))
	}
	return e.serve(ctx, ready)
}

// openLease returns a look at the node's lease, if it has one.
func (c Config) openLease() (_ leaseView, done func(), err error) {
	if c.Lease == "" {
		return nil, func() {}, nil
	}
	view, err := lease.Open(c.Lease)
	if err != nil {
		return nil, nil, err
	}
	return view, func() { _ = view.Close() }, nil // was only looked at, and nobody does any more
}

// serve runs all parts of the engine and ends them in order: first the file, so
// that nobody can write; then the volume, flushed; then the socket, which says so.
func (e *engine) serve(ctx context.Context, ready pipe) (err error) {
	var g, copies errgroup.Group
	applying, stopApplying := context.WithCancel(context.WithoutCancel(ctx))
	defer stopApplying()
	shipping, stopShipping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopShipping()
	g.Go(func() error { e.apply(applying); return nil })
	copies.Go(func() error { e.ship(shipping); return nil })
	copies.Go(func() error { e.tellComplete(shipping); return nil })
	defer func() {
		settled := e.boundSettling(stopShipping)
		stopApplying()
		_ = g.Wait()                                            // its one function returns nil
		e.outcome = errors.Join(err, settled(e.volume.Close())) // which flushes, here and there
		stopShipping()
		_ = copies.Wait() // its functions return nil
		close(e.stopped)
		if e.socket != nil {
			e.socket.close(ctx) // after the answer to whoever asked for the stop
		}
		err = e.outcome
	}()
	if e.server, err = device.Mount(filepath.Join(e.cfg.Dir, deviceDir), e.gate, e.log); err != nil {
		return err
	}
	return e.serveFile(ctx, ready)
}

// defaultSettle is longer than it takes to leave a copy out that does not answer.
const defaultSettle = 15 * time.Second

// boundSettling ends the streams to other copies when they keep the end waiting for too long (N10).
// What it returns is told how closing the volume ended, and says what that means.
func (e *engine) boundSettling(stopShipping func()) (settled func(error) error) {
	var late atomic.Bool
	patience := cmp.Or(e.cfg.Settle, defaultSettle)
	timer := time.AfterFunc(patience, func() {
		late.Store(true)
		stopShipping()
	})
	return func(err error) error {
		timer.Stop()
		if err == nil || !late.Load() {
			return err
		}
		return fmt.Errorf("other copies of the volume have not confirmed its last records within %v: %w; every flush that was answered is on all of them, and the rest is in the log here: %w", patience, ErrUnsettled, err)
	}
}

// apply folds the log until ctx ends. A poisoned volume ends it earlier, and
// the rest of the engine goes on (N3).
func (e *engine) apply(ctx context.Context) {
	if err := e.volume.Run(ctx); err != nil && ctx.Err() == nil {
		e.log.Error("volume accepts no more writes; what was acknowledged is safe", "error", err)
	}
}

// serveFile returns when the file is unmounted.
func (e *engine) serveFile(ctx context.Context, ready pipe) error {
	serving, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	var g errgroup.Group
	g.Go(func() error { return e.server.Run(serving) })
	err := e.serveSocket(ctx, &g, ready)
	if err != nil {
		abort() // there is no way to ask for a stop
	}
	return errors.Join(err, g.Wait())
}

// serveSocket opens the socket, says that the engine is ready, and returns when
// the file, which g serves, is unmounted.
func (e *engine) serveSocket(ctx context.Context, g *errgroup.Group, ready pipe) (err error) {
	if e.fuse, err = e.server.DeviceNumber(); err != nil {
		return err
	}
	if e.socket, err = e.listen(); err != nil {
		return err
	}
	e.log.Info("engine serves", "volume", e.volume.ID(), "epoch", e.cfg.Epoch, "size", e.volume.Size())
	ready.tell(nil)
	if err := forgetStart(); err != nil {
		e.log.Warn("cannot give memory back", "error", err)
	}
	stop := context.AfterFunc(ctx, e.stopWhenReleased)
	defer stop()
	return g.Wait()
}

// stopWhenReleased stops the engine at the first moment at which nobody uses its
// file (N2).
func (e *engine) stopWhenReleased() {
	e.log.Info("engine was asked to end; it does when its file is released", "in_use", e.server.InUse())
	for {
		err := e.unmount(context.Background())
		if err == nil || !errors.Is(err, ballast.ErrInUse) {
			return
		}
		select {
		case <-e.server.Released():
		case <-e.stopped:
			return
		}
	}
}

// unmountPatience is how long a file counts as in use that was just released:
// the kernel tells us of a close before it is done with it.
const unmountPatience = time.Second

// unmount takes the file away, which ends the engine. It wraps [ballast.ErrInUse]
// when something has it open.
func (e *engine) unmount(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, unmountPatience)
	defer cancel()
	for {
		err := e.server.Unmount()
		if !errors.Is(err, ballast.ErrInUse) {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
