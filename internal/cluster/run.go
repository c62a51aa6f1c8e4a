package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast"
)

// ErrRestart says that the records can be brought back only by starting the
// process again; volumes and their engines are not touched by that.
var ErrRestart = errors.New("the agent must be started again")

// Run keeps the records up to date until ctx ends. It returns an error when
// etcd cannot start, or gave up; looking up goes on working.
func (r *Records) Run(ctx context.Context) error {
	err := r.run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		r.setKeys(nil, nil)
		return nil
	}
	if isBroken(err) {
		err = fmt.Errorf("%w: %w", err, ErrRestart)
	}
	err = fmt.Errorf("keep volume records: %w", err)
	r.setKeys(nil, err)
	return err
}

// refuseForgotten keeps an empty etcd from declaring every volume unknown:
// Docker would drop what it knows of them.
func (r *Records) refuseForgotten() error {
	known := r.view.size()
	if known == 0 {
		return nil
	}
	if _, err := os.Stat(r.cfg.Dir + "/member"); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("this node knows %d volumes, but their records in %s are gone; "+
		"the volumes' data is untouched and known volumes are still served, but nothing can be changed; "+
		"put the folder back, or delete view.json beside it to begin with no volumes", known, r.cfg.Dir)
}

// refuseForce keeps a node from going on alone while the others agree without it: there would be
// two clusters, of which each gives the same volumes to other nodes.
func (r *Records) refuseForce(ctx context.Context, p *Peering) error {
	if p == nil {
		return nil // it is alone as it is
	}
	info := p.tls()
	config, err := info.ClientConfig()
	if err != nil {
		return fmt.Errorf("see whether the other nodes are lost: %w", err)
	}
	// Who holds etcd is answered only by a quorum.
	members := r.askEverybody(ctx, config, p)
	if len(members) == 0 {
		return nil
	}
	return fmt.Errorf("other nodes keep the records and agree: %d hold them; nothing was forced, for then there would be two clusters that both write to the same volumes; "+
		"start this agent without --force-new-cluster: %w", len(members), ballast.ErrInUse)
}

func explainStart(dir string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("the volume records in %s cannot be opened; the volumes' data is untouched and known volumes are still served, "+
		"but nothing can be changed; free disk space when the disk is full, else put the folder back from a copy: %w", dir, err)
}

// follow takes in everything, and then every change, and does more meanwhile.
func (r *Records) follow(ctx context.Context, keys keyspace, more ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	if r.currentPeering() != nil || r.cfg.External != nil {
		h := heardKeys{keys, r}
		keys = h
		group.Go(func() error { return h.watchQuorum(ctx) })
	}
	group.Go(func() error { return r.sync(ctx, keys) })
	group.Go(func() error { return r.persist(ctx) })
	for _, f := range more {
		group.Go(func() error { return f(ctx) })
	}
	return group.Wait()
}

// resyncPause keeps a watch that breaks at once from being set up in a frenzy.
const resyncPause = time.Second

func (r *Records) sync(ctx context.Context, keys keyspace) error {
	for {
		rev, err := r.syncAll(ctx, keys)
		if err == nil {
			r.setKeys(keys, nil)
			err = keys.watch(ctx, root, rev, r.take)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.setTrouble(r.whySilent())
		r.cfg.Log.Warn("following the volume records was interrupted; reading them anew", "error", err)
		select {
		case <-time.After(resyncPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// saveShare is how many times as long as a write of the view took nothing is written
// after it: many changes at once cost a tenth of the time, however many volumes there are.
const saveShare = 9

// persist writes the view after changes, and once more before it ends. A write
// that fails is tried again with the next change: the view is a copy.
func (r *Records) persist(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			r.saveChanged()
			return ctx.Err()
		case <-r.view.changed:
		}
		begin := time.Now()
		r.save()
		timer := time.NewTimer(saveShare * time.Since(begin))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (r *Records) saveChanged() {
	select {
	case <-r.view.changed:
		r.save()
	default:
	}
}

func (r *Records) save() {
	if err := r.view.save(r.cfg.View); err != nil {
		r.cfg.Log.Warn("local view of the volume records was not saved; a restarted agent may know older records until etcd is up", "error", err)
	}
}
