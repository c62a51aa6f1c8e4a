package agent

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/delta"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/identity"
	"github.com/ballast-io/ballast/internal/lease"
	"github.com/ballast-io/ballast/internal/replica"
)

// processEngines are engines in processes of their own.
type processEngines struct{ cfg Config }

// Spawn implements engines.
func (p processEngines) Spawn(ctx context.Context, dir string, m replica.Members) (process, error) {
	c, err := engine.Spawn(ctx, engine.Config{
		Dir: dir, Epoch: m.Epoch, LogCapacity: p.cfg.LogCapacity, Executable: p.cfg.Executable,
		Queue: p.cfg.ArchiveQueue, Agent: filepath.Join(p.cfg.DataDir, socketName),
		Node: p.cfg.Node, Members: m,
		Lease: filepath.Join(p.cfg.DataDir, lease.FileName), Identity: filepath.Join(p.cfg.DataDir, identity.Dir),
	})
	if err != nil {
		return nil, err
	}
	return engineProcess{c}, nil
}

// Dial implements engines.
func (p processEngines) Dial(_ context.Context, dir string) (process, error) {
	c, err := engine.Dial(dir)
	if err != nil {
		return nil, sayGone(err)
	}
	return engineProcess{c}, nil
}

type engineProcess struct{ *engine.Client }

// Status implements process.
func (e engineProcess) Status(ctx context.Context) (engine.Status, error) {
	status, err := e.Client.Status(ctx)
	return status, sayGone(err)
}

// Changes implements process.
func (e engineProcess) Changes(ctx context.Context, after ballast.LSN, limit int64) (*delta.Delta, error) {
	d, err := e.Client.Changes(ctx, after, limit)
	return d, sayGone(err)
}

// SetMembers implements process.
func (e engineProcess) SetMembers(ctx context.Context, m replica.Members) error {
	return sayGone(e.Client.SetMembers(ctx, m))
}

// Fence implements process.
func (e engineProcess) Fence(ctx context.Context, reason string) error {
	return sayGone(e.Client.Fence(ctx, reason))
}

// Archived implements process.
func (e engineProcess) Archived(ctx context.Context, lsn ballast.LSN) error {
	return sayGone(e.Client.Archived(ctx, lsn))
}

// Snapshot implements process.
func (e engineProcess) Snapshot(ctx context.Context, since ballast.LSN) (archiver.Snapshot, error) {
	s, err := e.Client.Snapshot(ctx, since)
	if err != nil {
		return nil, sayGone(err)
	}
	return s, nil
}

// sayGone says in this package's words that an engine has ended.
func sayGone(err error) error {
	if errors.Is(err, engine.ErrNotRunning) {
		return errors.Join(errEngineGone, err)
	}
	return err
}
