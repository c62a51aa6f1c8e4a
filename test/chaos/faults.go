package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ballast-io/ballast/test/lab"
)

// fault is something that goes wrong and can be mended.
type fault struct {
	name string
	// strike makes it go wrong in a round, and returns how it is mended.
	strike func(ctx context.Context, r *round) (mend func(context.Context) error, err error)
	// mayLose says of a disturbance that the primary may be lost by it: whose way to the one
	// that leads etcd is cut cannot renew its lease.
	mayLose bool
	// everywhere says of a loss that no other node can take over before it is mended.
	everywhere bool
}

// disturbances are what a primary has to live with: at most one copy or link suffers.
func disturbances() []fault {
	return []fault{
		{name: "nothing", strike: func(context.Context, *round) (func(context.Context) error, error) {
			return func(context.Context) error { return nil }, nil
		}},
		{name: "follower killed", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.follower.PowerOn, r.follower.PowerOff(ctx)
		}},
		{name: "follower's power cut", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.follower.PowerOn, r.follower.CutPower(ctx)
		}},
		{name: "follower stopped", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.follower.Continue, r.follower.Stop(ctx)
		}},
		{name: "follower's agent killed", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return launch(r.follower), r.follower.Agent.Kill(ctx)
		}},
		{name: "follower isolated", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.c.Heal, r.c.Isolate(ctx, r.follower)
		}},
		{name: "link cut", mayLose: true, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.healLink, r.c.Cut(ctx, r.primary, r.follower)
		}},
		{name: "link cut towards the follower", mayLose: true, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.healLink, r.c.CutOneWay(ctx, r.primary, r.follower)
		}},
		{name: "link cut towards the primary", mayLose: true, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.healLink, r.c.CutOneWay(ctx, r.follower, r.primary)
		}},
		{name: "link lossy", mayLose: true, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.healLink, r.c.Lossy(ctx, r.primary, r.follower, 0.1)
		}},
		{name: "link slow", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.healLink, r.c.Slow(ctx, r.primary, r.follower, 20*time.Millisecond, 500<<10)
		}},
		{name: "follower's disk full", strike: func(_ context.Context, r *round) (func(context.Context) error, error) {
			return free(r.follower), r.follower.FillDisk(0)
		}},
		{name: "bystander killed", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.bystander.PowerOn, r.bystander.PowerOff(ctx)
		}},
		{name: "primary's agent restarted", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return func(context.Context) error { return nil }, errors.Join(r.primary.Agent.Kill(ctx), r.primary.Agent.Launch()) //nolint:contextcheck // it lives on
		}},
	}
}

// engineKilled is the loss after which the primary's own node can take over as well.
const engineKilled = "engine killed"

// losses are what a primary does not survive.
func losses() []fault {
	return []fault{
		{name: "primary killed", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.primary.PowerOn, r.primary.PowerOff(ctx)
		}},
		{name: "primary's power cut", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.primary.PowerOn, r.primary.CutPower(ctx)
		}},
		{name: "primary stopped", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			awake := r.user.asleepFrom()
			return func(ctx context.Context) error { defer awake(); return r.primary.Continue(ctx) }, r.primary.Stop(ctx)
		}},
		{name: "primary isolated", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.c.Heal, r.c.Isolate(ctx, r.primary)
		}},
		{name: "primary heard by nobody", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.c.Heal, r.eachOther(func(n *lab.Node) error { return r.c.CutOneWay(ctx, r.primary, n) })
		}},
		{name: "primary deaf", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.c.Heal, r.eachOther(func(n *lab.Node) error { return r.c.CutOneWay(ctx, n, r.primary) })
		}},
		{name: "primary's agent killed", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return launch(r.primary), r.primary.Agent.Kill(ctx)
		}},
		{name: "primary's agent stopped", strike: func(_ context.Context, r *round) (func(context.Context) error, error) {
			return func(context.Context) error { return r.primary.Agent.Thaw() }, r.primary.Agent.Freeze()
		}},
		{name: "engine stopped, agent killed", strike: stopEngineKillAgent},
		{name: engineKilled, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return func(context.Context) error { return nil }, r.signalEngine(ctx, "KILL")
		}},
		{name: "primary's disk full, then killed", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			mend := func(ctx context.Context) error { return errors.Join(r.primary.PowerOn(ctx), r.primary.FreeDisk()) }
			return mend, errors.Join(r.primary.FillDisk(0), r.linger(ctx), r.primary.PowerOff(ctx))
		}},
		{name: "everything killed", everywhere: true, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.allOn, r.each(func(n *lab.Node) error { return n.PowerOff(ctx) })
		}},
		{name: "all power cut", everywhere: true, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			return r.allOn, r.each(func(n *lab.Node) error { return n.CutPower(ctx) })
		}},
		{name: "members lost", everywhere: true, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			mend := func(ctx context.Context) error {
				return r.eachOther(func(n *lab.Node) error { return n.PowerOn(ctx) })
			}
			return mend, r.eachOther(func(n *lab.Node) error { return n.PowerOff(ctx) })
		}},
		{name: "everything stopped", everywhere: true, strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
			awake := r.user.asleepFrom()
			mend := func(ctx context.Context) error {
				defer awake()
				return r.each(func(n *lab.Node) error { return n.Continue(ctx) })
			}
			return mend, errors.Join(r.each(func(n *lab.Node) error { return n.Stop(ctx) }), r.oversleep(ctx))
		}},
	}
}

// stopEngineKillAgent makes a zombie: an engine that wakes up when its time is over, and
// nobody there who would tell it.
func stopEngineKillAgent(ctx context.Context, r *round) (func(context.Context) error, error) {
	pid, err := r.enginePID(ctx)
	if err != nil {
		return nil, err
	}
	signal := func(ctx context.Context, name string) error {
		_, err := r.primary.Output(ctx, "/bin/kill", "-s", name, pid)
		return err
	}
	mend := func(ctx context.Context) error {
		return errors.Join(signal(ctx, "CONT"), r.linger(ctx), r.primary.Agent.Launch()) //nolint:contextcheck // it lives on
	}
	return mend, errors.Join(signal(ctx, "STOP"), r.primary.Agent.Kill(ctx))
}

func launch(n *lab.Node) func(context.Context) error {
	return func(context.Context) error { return n.Agent.Launch() } //nolint:contextcheck // it lives on
}

func free(n *lab.Node) func(context.Context) error {
	return func(context.Context) error { return n.FreeDisk() }
}

func (r *round) healLink(ctx context.Context) error {
	return r.c.HealLink(ctx, r.primary, r.follower)
}

// each does something to all machines at the same time.
func (r *round) each(do func(*lab.Node) error) error {
	var all errgroup.Group
	for _, n := range r.c.Nodes {
		all.Go(func() error { return do(n) })
	}
	return all.Wait()
}

// eachOther does something to all machines but the primary.
func (r *round) eachOther(do func(*lab.Node) error) error {
	return r.each(func(n *lab.Node) error {
		if n == r.primary {
			return nil
		}
		return do(n)
	})
}

// allOn switches all machines on, one after the other, in an order of its own.
func (r *round) allOn(ctx context.Context) error {
	var failed error
	for _, i := range r.rng.Perm(len(r.c.Nodes)) {
		failed = errors.Join(failed, r.c.Nodes[i].PowerOn(ctx))
	}
	return failed
}

// oversleep waits, half of the time, until every lease has run out.
func (r *round) oversleep(ctx context.Context) error {
	if r.rng.IntN(2) == 0 {
		return nil
	}
	return r.wait(ctx, r.lease+r.lease/2)
}

// linger lets a fault do its work for a while.
func (r *round) linger(ctx context.Context) error {
	return r.wait(ctx, time.Duration(200+r.rng.IntN(500))*time.Millisecond)
}

func (r *round) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *round) enginePID(ctx context.Context) (pid string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	err = lab.Poll(ctx, "the engine's process id", func(ctx context.Context) error {
		v, err := r.api(r.primary).Inspect(ctx, volumeName)
		pid = strconv.Itoa(int(v.GetEngine().GetPid()))
		if err == nil && pid == "0" {
			err = errors.New("not known yet") // to an agent that has just started
		}
		return err
	})
	return pid, err
}

func (r *round) signalEngine(ctx context.Context, name string) error {
	pid, err := r.enginePID(ctx)
	if err != nil {
		return err
	}
	_, err = r.primary.Output(ctx, "/bin/kill", "-s", name, pid)
	return err
}
