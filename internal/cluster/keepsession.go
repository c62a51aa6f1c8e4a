package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
)

// SessionConfig says how a node keeps its session. Times are of CLOCK_BOOTTIME.
type SessionConfig struct {
	Lease   time.Duration             // how long it stands without being renewed; 0: [DefaultLease]
	Boot    func() time.Duration      // tells the time
	Disk    func() (size, free int64) // of what the node keeps volumes on, in bytes; nil: not known
	Archive func() string             // which archive the node has; empty, or nil: not known; up to 128 bytes

	// The session that the node had when its agent ended last, and until when. It goes on
	// when that is in time. 0: none is known.
	Last  uint64
	Until time.Duration

	// OnRenewed is told until when which session is good. A session with another number
	// than before is one that others may have claimed under: what was attached
	// under the earlier one is to be confirmed by [Records.Read] first.
	OnRenewed func(session uint64, until time.Duration)
}

// KeepSession keeps this node's session until ctx ends. It leaves the session as it is:
// what is attached outlives the agent.
func (r *Records) KeepSession(ctx context.Context, cfg SessionConfig) error {
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Lease < MinLease || cfg.Lease > MaxLease {
		return fmt.Errorf("keep session: a lease has from %s to %s, not %s: %w", MinLease, MaxLease, cfg.Lease, ballast.ErrInvalid)
	}
	k := &sessionKeeper{records: r, cfg: cfg}
	for ctx.Err() == nil {
		asked := cfg.Boot()
		good, err := k.renew(ctx)
		pause := cfg.Lease/renewals - (cfg.Boot() - asked)
		switch {
		case err != nil && ctx.Err() == nil:
			k.complain(err)
			pause = min(pause, cfg.Lease/20)
		case !good:
			pause = cfg.Lease / 100
		case k.ailing:
			k.ailing = false
			r.cfg.Log.Info("this node's session is renewed again", "session", k.pulse.number)
		}
		timer := time.NewTimer(max(pause, time.Millisecond))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return nil
}

// renewals is how often a session is renewed within its lease.
const renewals = 4

// sessionKeeper is the state of KeepSession.
type sessionKeeper struct {
	records *Records
	cfg     SessionConfig
	pulse   pulse
	known   bool  // the key was read, rev is its revision
	rev     int64 // 0: there is no key
	ailing  bool  // it was said that renewing fails
}

// renew renews the session once, and reports whether it is good.
func (k *sessionKeeper) renew(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Lease/renewals)
	defer cancel()
	keys, err := k.records.keyspace(ctx)
	if err != nil {
		return false, err
	}
	key := sessionKey(k.records.cfg.Node)
	if !k.known {
		if err := k.read(ctx, keys, key); err != nil {
			return false, err
		}
	}
	asked := k.cfg.Boot()
	next := k.pulse.write(asked)
	next.Size, next.Free = k.disk()
	if k.cfg.Archive != nil {
		next.Archive = k.cfg.Archive()
	}
	data, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	k.known = false // until it is known what came of it
	ok, rev, err := keys.swap(ctx, []item{{key: key, rev: k.rev}}, []item{{key: key, value: data}})
	if err != nil || !ok {
		return false, err
	}
	k.known, k.rev = true, rev
	if !k.pulse.wrote(asked, k.cfg.Boot()) {
		return false, nil
	}
	k.cfg.OnRenewed(k.pulse.number, k.pulse.until)
	return true, nil
}

// read reads the key, which may have been changed by a write whose answer was lost.
func (k *sessionKeeper) read(ctx context.Context, keys keyspace, key string) error {
	got, err := keys.get(ctx, key)
	if err != nil {
		return err
	}
	var stored storedSession
	if got.rev != 0 {
		// One that cannot be read is of nobody's use, and gives way to the next.
		if stored, err = decodeSession(got.value); err != nil {
			k.records.cfg.Log.Warn("this node's stored session is unreadable; it is begun anew", "error", err)
		}
	}
	switch now := k.cfg.Boot(); {
	case k.pulse.number == 0:
		k.pulse = resume(k.cfg.Lease, stored, k.cfg.Last, k.cfg.Until, now)
	case stored.Number > k.pulse.number:
		// Somebody else has this node's name; whatever he promised, it is not ours.
		k.pulse = resume(k.cfg.Lease, stored, 0, 0, now)
	default:
		k.pulse.beat = max(k.pulse.beat, stored.Beat)
	}
	k.known, k.rev = true, got.rev
	return nil
}

func (k *sessionKeeper) disk() (size, free int64) {
	if k.cfg.Disk == nil {
		return 0, 0
	}
	return k.cfg.Disk()
}

// complain says once that renewing fails.
func (k *sessionKeeper) complain(err error) {
	if k.ailing {
		return
	}
	k.ailing = true
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	k.records.cfg.Log.Warn("this node's session is not renewed; volumes that another node could take over will wait when it has run out", "error", err)
}

// Session returns what this node has seen of a node's session.
func (r *Records) Session(node ballast.NodeID) Session {
	seen, _ := r.sessions.judge(node, time.Now())
	return seen
}
