package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
)

// errNoQuorum is why nothing can be changed.
var errNoQuorum = silence("too few of the nodes that keep the records answer")

// silence is an errNoQuorum in other words.
type silence string

func (s silence) Error() string { return string(s) }

// Is reports whether target is errNoQuorum.
func (s silence) Is(target error) bool { return target == errNoQuorum }

// How long etcd is waited for. A change that is asked for without a quorum is answered within the
// patience for a proof and for a question together, and has not happened then.
const (
	proveAfter    = 1500 * time.Millisecond // without an answer of a quorum, before it is asked for one
	provePatience = 1500 * time.Millisecond
	silentAfter   = 3 * time.Second // without one, before that is said

	askPatience  = 5 * time.Second
	swapPatience = 7 * time.Second // etcd itself gives up then
	listAllFor   = 30 * time.Second
)

// heardKeys is an etcd that others take part in: it can fall silent at any time. What is asked of
// it ends in time, and when it last answered is remembered.
type heardKeys struct {
	keyspace

	records *Records
}

func (h heardKeys) list(ctx context.Context, prefix string) ([]item, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, listAllFor)
	defer cancel()
	asked := time.Now()
	items, rev, err := h.keyspace.list(ctx, prefix)
	h.records.hear(asked, err)
	return items, rev, err
}

// get changes nothing, so whatever it was for has not happened when it fails.
func (h heardKeys) get(ctx context.Context, key string) (item, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	asked := time.Now()
	it, err := h.keyspace.get(ctx, key)
	h.records.hear(asked, err)
	switch {
	case err == nil:
		return it, nil
	case errors.Is(err, context.DeadlineExceeded):
		return it, h.records.notReady()
	}
	return it, fmt.Errorf("%w: %w", h.records.notReady(), err)
}

func (h heardKeys) swap(ctx context.Context, conditions, changes []item) (bool, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, swapPatience)
	defer cancel()
	asked := time.Now()
	ok, rev, err := h.keyspace.swap(ctx, conditions, changes)
	h.records.hear(asked, err)
	return ok, rev, err
}

func (h heardKeys) lend(ctx context.Context, it item, ttl time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, swapPatience)
	defer cancel()
	return h.keyspace.lend(ctx, it, ttl)
}

// prove returns nil when a quorum answers now.
func (h heardKeys) prove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, provePatience)
	defer cancel()
	_, err := h.get(ctx, generationKey)
	return err
}

// watchQuorum finds out whether a quorum answers whenever nothing else has for a while, and says
// so, until ctx ends.
func (h heardKeys) watchQuorum(ctx context.Context) error {
	r := h.records
	tick := time.NewTicker(proveAfter / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if time.Since(r.Heard()) < proveAfter {
			continue
		}
		err := h.prove(ctx)
		if err != nil && ctx.Err() == nil && time.Since(r.Heard()) >= silentAfter {
			r.setTrouble(r.whySilent())
		}
	}
}

// hear notes that a quorum has answered what was asked at a moment: there was one then.
func (r *Records) hear(asked time.Time, err error) {
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if asked.After(r.heard) {
		r.heard = asked
	}
	if r.keys != nil && errors.Is(r.err, errNoQuorum) {
		r.err = nil
		r.cfg.Log.Info("a quorum of those that keep the records answers again")
	}
}

// Heard returns when a quorum was last known to have been there; while there never was one, when
// the records were opened. A node that keeps the records alone is not asked.
func (r *Records) Heard() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard
}

// whySilent says who does not answer.
func (r *Records) whySilent() error {
	names := r.keepers()
	switch {
	case r.cfg.External != nil:
		return silence("the etcd that keeps the records does not answer, or has no quorum")
	case len(names) == 1 && names[0] != r.cfg.Node:
		return silence(fmt.Sprintf("node %s, which keeps the records, does not answer", names[0]))
	case len(names) > 1:
		return silence(fmt.Sprintf("too few of the nodes that keep the records answer: %s", nodeList(names)))
	}
	return errNoQuorum
}

// keepers are the nodes whose votes count.
func (r *Records) keepers() (names []ballast.NodeID) {
	for _, m := range r.view.allMembers() {
		if m.Node != "" && !m.Learner {
			names = append(names, m.Node)
		}
	}
	slices.Sort(names)
	return names
}

// doubtful reports whether a change that is begun now may well not come about.
func (r *Records) doubtful() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil || time.Since(r.heard) > proveAfter+provePatience
}
