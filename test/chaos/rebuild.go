package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// rebuild is a round in which a copy is behind, or gone, and is brought up to date below
// the hands of a user; then the primary is lost and the rebuilt copy goes on (G4).
//
// How others failed: a block that was partly written while it was copied was filled up with
// zeroes, and the copy reported as healthy.
func (r *round) rebuild(ctx context.Context) error {
	defer func() { _ = r.mend(context.WithoutCancel(ctx)) }() // a round that went well has mended all
	if err := r.prepare(ctx); err != nil {
		return err
	}
	ways := []struct {
		name string
		away func(context.Context) error
	}{
		{"a copy is wiped", r.wipe},
		{"a copy was away", r.leave},
		{"a copy was away, then its power is cut", r.leaveAndStumble},
		{"a copy is wiped, then its agent is killed", r.wipeAndStumble},
	}
	way := ways[r.rng.IntN(len(ways))]
	r.disturbance = way.name
	if err := way.away(ctx); err != nil {
		return fmt.Errorf("%s: %w", way.name, err)
	}
	before, _ := r.user.heard.Acks()
	if err := r.awaitFollower(ctx); err != nil {
		return err
	}
	if after, _ := r.user.heard.Acks(); after == before && r.number > 1 {
		// Not always: a copy that lacks little is back at once.
		r.disturbance += ", without a write meanwhile"
	}
	r.loss = "primary killed"
	r.struck = time.Now()
	r.mends = append(r.mends, r.primary.PowerOn)
	if err := r.primary.PowerOff(ctx); err != nil {
		return err
	}
	next, err := r.takeOverAt(ctx, r.follower)
	if err != nil {
		return err
	}
	return errors.Join(r.bury(ctx, next), r.goOn(ctx, next))
}

// takeOverAt attaches the volume on a node that must be able to.
func (r *round) takeOverAt(ctx context.Context, n *lab.Node) (next *session, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.lease+takeLimit)
	defer cancel()
	err = lab.Poll(ctx, "the rebuilt copy to take over", func(ctx context.Context) (err error) {
		next, err = r.attach(ctx, n)
		return err
	})
	return next, err
}

// leave has the follower miss some of what is written.
func (r *round) leave(ctx context.Context) error {
	r.mends = append(r.mends, r.c.Heal)
	if err := r.c.Isolate(ctx, r.follower); err != nil {
		return err
	}
	if err := r.awaitWithout(ctx); err != nil {
		return err
	}
	if err := r.user.awaitAcks(ctx, 20+r.rng.IntN(300)); err != nil {
		return err
	}
	return r.mend(ctx)
}

// wipe is leave for good: what the follower had is gone when it is back.
func (r *round) wipe(ctx context.Context) error {
	r.mends = append(r.mends, r.c.Heal, launch(r.follower))
	if err := errors.Join(r.c.Isolate(ctx, r.follower), r.awaitWithout(ctx), r.follower.Agent.Kill(ctx)); err != nil {
		return err
	}
	if err := os.RemoveAll(r.folder(r.follower)); err != nil {
		return err
	}
	if err := r.user.awaitAcks(ctx, 20); err != nil {
		return err
	}
	return r.mend(ctx)
}

// leaveAndStumble and wipeAndStumble interrupt the copy while it is brought up to date.
func (r *round) leaveAndStumble(ctx context.Context) error {
	if err := errors.Join(r.leave(ctx), r.linger(ctx)); err != nil {
		return err
	}
	return errors.Join(r.follower.CutPower(ctx), r.follower.PowerOn(ctx))
}

func (r *round) wipeAndStumble(ctx context.Context) error {
	if err := errors.Join(r.wipe(ctx), r.linger(ctx)); err != nil {
		return err
	}
	return errors.Join(r.follower.Agent.Kill(ctx), launch(r.follower)(ctx))
}

// awaitWithout waits until the follower does not count any more.
func (r *round) awaitWithout(ctx context.Context) error {
	return r.awaitVolume(ctx, r.follower.Name+" to be out of sync", func(v *v1.Volume) bool { return !inSync(v, r.follower) })
}

// awaitFollower waits until the follower, and no stand-in, is in sync again.
func (r *round) awaitFollower(ctx context.Context) error {
	return r.awaitVolume(ctx, r.follower.Name+" to be in sync again", func(v *v1.Volume) bool { return inSync(v, r.follower) })
}

func (r *round) awaitVolume(ctx context.Context, what string, is func(*v1.Volume) bool) error {
	ctx, cancel := context.WithTimeout(ctx, wellLimit)
	defer cancel()
	return lab.Poll(ctx, what, func(ctx context.Context) error {
		v, err := r.api(r.primary).Inspect(ctx, volumeName)
		if err == nil && !is(v) {
			err = fmt.Errorf("in sync: %s; copies: %s", strings.Join(slices.Clone(agentapi.InSync(v)), ", "), copiesOf(v))
		}
		return err
	})
}
