package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/vfs"
)

// Config says how a node takes part in the cluster.
type Config struct {
	Dir  string         // the folder of etcd; made when missing
	View vfs.FS         // where the local view is kept
	Node ballast.NodeID // this node
	Log  *slog.Logger

	// Lease is how long a node that never had a session is waited for before what it
	// holds may be claimed; 0: [DefaultLease].
	Lease time.Duration

	Peering  *Peering      // how nodes reach each other's etcd; nil: this node is alone. See SetPeering
	External *External     // an etcd that is not ours; nil: nodes of the cluster hold it
	Most     int           // how many of them do at most; 0: [MostMembers]
	GiveUp   time.Duration // how long a member's node may be away before another takes its place; 0: 10 minutes
	GaveUp   error         // why these records count for nothing any more; nil: they do
	ForceNew bool          // the other members are lost for good: go on alone with what this one has
}

// Records are the volume records. The methods that look up answer from the
// local view at once (C5); those that change need etcd, wait a little for it
// within their context, and fail with [ballast.ErrNotReady] when it is away.
type Records struct {
	cfg      Config
	view     *view
	sessions *sessions

	switched chan struct{} // has room for one: how nodes reach each other was changed

	mu      sync.Mutex // guards everything below
	keys    keyspace   // nil while etcd is away
	heard   time.Time  // when a quorum is known to have answered; see Heard
	ready   chan struct{}
	err     error          // why the records are away
	peering *Peering       // what it points to is never changed
	moving  bool           // it was changed, and Run does not go by it yet
	serving *memberHandler // nil: no others are served
	force   bool           // the next start goes on alone
	gaveUp  error          // why these records count for nothing any more
	leads   bool           // this node's member leads etcd
}

// Open returns the records as this node last knew them. Run brings them up to
// date and makes changes possible. A stored view that cannot be read is logged
// and done without.
func Open(cfg Config) *Records {
	r := newRecords(cfg)
	if err := r.view.load(cfg.View); err != nil {
		cfg.Log.Warn("local view of the volume records is unusable; volumes are unknown until etcd is up", "error", err)
	}
	return r
}

func newRecords(cfg Config) *Records {
	if cfg.Lease <= 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.GiveUp <= 0 {
		cfg.GiveUp = 10 * time.Minute
	}
	return &Records{
		cfg: cfg, view: newView(), sessions: newSessions(cfg.Lease),
		heard: time.Now(), ready: make(chan struct{}), switched: make(chan struct{}, 1), peering: cfg.Peering, force: cfg.ForceNew, gaveUp: cfg.GaveUp,
	}
}

// Ready reports whether changes are possible, and if not, why when that is known. Since when not
// is what Heard says.
func (r *Records) Ready() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil && r.err == nil && (r.peering != nil || r.cfg.External != nil) && time.Since(r.heard) > silentAfter {
		return false, r.whySilent() // it waits for the others since it began
	}
	return r.keys != nil && r.err == nil, r.err
}

// Get returns the volume of that name, which is not in the trash. The error is
// [ballast.ErrNotFound] or [ballast.ErrNotReady] (C4).
func (r *Records) Get(name string) (Record, error) {
	found, err := r.view.byName(name)
	return found.Record, err
}

// ByID returns a volume, in the trash or not, as Get does.
func (r *Records) ByID(id ballast.VolumeID) (Record, error) {
	found, err := r.view.byID(id)
	return found.Record, err
}

// List returns the volumes outside of the trash, sorted by name.
func (r *Records) List() []Record { return r.view.all(false) }

// Trash returns the removed volumes, sorted by name.
func (r *Records) Trash() []Record { return r.view.all(true) }

// readyPatience is how long a change waits for etcd; it starts in well under a
// second.
const readyPatience = 5 * time.Second

// keyspace returns etcd as soon as it is there. Where it may have no quorum it is asked for one
// first: what fails then has changed nothing, which nobody knows of a change that was not answered.
func (r *Records) keyspace(ctx context.Context) (keyspace, error) {
	r.mu.Lock()
	keys, ready := r.keys, r.ready
	r.mu.Unlock()
	if h, shared := keys.(heardKeys); shared && r.doubtful() {
		if err := h.prove(ctx); err != nil {
			return nil, r.notReady()
		}
	}
	if keys != nil {
		return keys, nil
	}
	timer := time.NewTimer(readyPatience)
	defer timer.Stop()
	select {
	case <-ready:
		return r.keyspace(ctx)
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, r.notReady()
}

func (r *Records) notReady() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(r.err, errNoQuorum):
		return fmt.Errorf("the records cannot be changed since %s: %w; nothing was changed; see `ballast status`: %w", r.heard.Format(time.DateTime), r.err, ballast.ErrNotReady)
	case r.err != nil:
		return fmt.Errorf("the volume records cannot be changed, and nothing was: %w: %w", r.err, ballast.ErrNotReady)
	case r.keys != nil || r.peering != nil || r.cfg.External != nil:
		return fmt.Errorf("the records cannot be changed for the moment: %w; nothing was changed; see `ballast status`: %w", r.whySilent(), ballast.ErrNotReady)
	}
	return fmt.Errorf("the volume records cannot be changed yet, etcd is starting; nothing was changed: %w", ballast.ErrNotReady)
}

// setKeys says that etcd is there, or with nil that it is away and why.
func (r *Records) setKeys(keys keyspace, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.moving {
		keys = nil // of one that is about to end
	}
	r.setKeysLocked(keys, why)
}

func (r *Records) setKeysLocked(keys keyspace, why error) {
	if keys != nil && r.keys == nil {
		close(r.ready)
	}
	if keys == nil && r.keys != nil {
		r.ready = make(chan struct{})
	}
	r.keys, r.err = keys, why
	if keys != nil {
		r.heard = time.Now() // everything was read just now
	}
}

// isBroken reports whether err can only be mended by another process.
func isBroken(err error) bool { return errors.Is(err, errBroken) }

// setTrouble says why changes do not come about although etcd is there, or with nil that
// they do again. They are tried all the same.
func (r *Records) setTrouble(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys != nil {
		r.err = why
	}
}
