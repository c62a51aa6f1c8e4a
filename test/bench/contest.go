package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// contest is one workload, done round by round in every place that can.
type contest struct {
	b    *bench
	work workload
	all  []*place
	able []*place // those that have not failed
	r    *report
}

func newContest(b *bench, w workload, places []*place, r *report) *contest {
	return &contest{b: b, work: w, all: places, able: slices.Clone(places), r: r}
}

func (c *contest) run(ctx context.Context) (err error) {
	fmt.Fprintf(c.b.w, "\n%s\n", c.work.name())
	defer func() { err = errors.Join(err, c.clear(ctx)) }()
	for _, p := range c.all {
		err := errors.Join(c.work.prepare(ctx, p), p.settle(ctx))
		if err := c.judge(ctx, p, err); err != nil {
			return err
		}
	}
	for round := range c.b.rounds {
		for _, p := range rotated(c.able, round) {
			if err := c.judge(ctx, p, c.once(ctx, p, round)); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge leaves out a place that failed, which is the end only where it is none of
// the peers.
func (c *contest) judge(ctx context.Context, p *place, failed error) error {
	if failed == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	c.leaveOut(p, "%s cannot be done on %s: %v", c.work.name(), p.name, failed)
	if p.isPeer() {
		return nil
	}
	return fmt.Errorf("%s on %s: %w", c.work.name(), p.name, failed)
}

func (c *contest) leaveOut(p *place, why string, args ...any) {
	c.able = slices.DeleteFunc(c.able, func(q *place) bool { return q == p })
	c.r.note(why, args...)
	fmt.Fprintf(c.b.w, "  %s\n", c.r.Notes[len(c.r.Notes)-1])
}

// once does the work once in one place, and waits until the place has nothing
// left to do from it: the next one is not to pay for that.
func (c *contest) once(ctx context.Context, p *place, round int) error {
	began := time.Now()
	stop := c.b.watch(ctx, p)
	s, err := c.work.run(ctx, p)
	stop()
	if err != nil {
		return err
	}
	took := time.Since(began)
	c.r.add(p.name, c.work.metrics(), s)
	if err := p.settle(ctx); err != nil {
		return err
	}
	settled := time.Since(began) - took
	fmt.Fprintf(c.b.w, "  round %d/%d  %-9s %s  (%.0f s, then %.0f s to settle)\n", round+1, c.b.rounds, p.name,
		s.brief(c.work.metrics()), took.Seconds(), settled.Seconds())
	if p.isPeer() && took > c.b.limit && round+1 < c.b.rounds {
		c.leaveOut(p, "%s on %s took %.0f s: it was done %d times there, not %d", c.work.name(), p.name, took.Seconds(), round+1, c.b.rounds)
	}
	return nil
}

// clear removes what the work left in all places. When it was interrupted, the
// machine goes with all that is in it.
func (c *contest) clear(ctx context.Context) (err error) {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end of the contest says it
	}
	for _, p := range c.all {
		err = errors.Join(err, c.judge(ctx, p, c.work.clear(ctx, p)))
	}
	return err
}

// watch samples the memory of Ballast while it works.
func (b *bench) watch(ctx context.Context, p *place) (stop func()) {
	if p.name != ballastName || b.memory == nil {
		return func() {}
	}
	return b.memory.watch(ctx)
}

// rotated begins with another one each round.
func rotated(places []*place, round int) []*place {
	if len(places) == 0 {
		return nil
	}
	first := round % len(places)
	return slices.Concat(places[first:], places[:first])
}
