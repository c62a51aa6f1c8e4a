package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// rebuildArgs are those of every node of a campaign that only rebuilds: logs so short that a
// copy which was away for long needs chunks, and one that was not does not.
func rebuildArgs(lease time.Duration) []string {
	return []string{"--lease", lease.String(), "--log-capacity", "256M", "--archive", "none"}
}

// rebuildLimit bounds a failure: users of a machine that does much else may take the time that
// a copy needs.
const rebuildLimit = 4 * time.Minute

// slowRebuild is from when on a rebuild is worth a look: the logs are kept.
const slowRebuild = 45 * time.Second

// What a campaign of rebuilds must have shown, as far as the ways that it went lead there.
const (
	byLog    = "from the log"
	byFirst  = "first copy, all chunks"
	byChange = "changed chunks, merged"
	resumed  = "went on with what a broken-off attempt had left"
	cutOff   = "a tail that nobody acknowledged was cut"
	resized  = "the volume grew meanwhile"
)

// way is how a copy comes to be behind, and what happens while it is brought up to date.
type way struct {
	name  string
	away  func(context.Context) error // makes it be behind
	until int64                       // bytes that it shall lack at least; 0: a little; less: whatever it is
	midst func(context.Context) error // breaks the rebuild off; nil: nothing does
	shows []string
}

// ways are all that a copy is rebuilt by.
func (r *round) ways() []way {
	const long = 130 << 20 // more than the log keeps
	first, more := []string{byFirst, resumed}, []string{byChange}
	return []way{
		{name: "a copy's agent is restarted", away: r.blink, until: -1, shows: []string{byLog}},
		{name: "a copy was away", away: r.leave, until: -1, shows: []string{byLog}}, // mostly: the log may be folded just then
		{name: "a copy was away for long", away: r.leave, until: long, shows: more},
		{name: "a copy was away for long, then its power is cut", away: r.leave, until: long, midst: r.stumble, shows: more},
		{name: "a copy was away for long, then it is cut off", away: r.leave, until: long, midst: r.fadeAway, shows: more},
		{name: "a copy was away for long, then the engine is killed", away: r.leave, until: long, midst: r.changeUser, shows: more},
		{name: "a copy is wiped", away: r.wipe, shows: first[:1]},
		{name: "a copy is wiped, then its agent is killed", away: r.wipe, midst: r.die, shows: first},
		{name: "a copy is wiped, then it is cut off", away: r.wipe, midst: r.fadeAway, shows: first},
		{name: "a copy is wiped, then the engine is killed", away: r.wipe, midst: r.changeUser, shows: first},
		{name: "a former primary", away: r.swap, shows: []string{cutOff}},
		{name: "a former primary, after long", away: r.swap, until: long, shows: []string{byChange, cutOff}},
	}
}

// nextWay goes all ways in turn, in an order that the seed shuffles.
func (r *round) nextWay() way {
	all := slices.DeleteFunc(r.ways(), func(w way) bool { return r.way != "" && r.way != w.name })
	if len(r.order) == 0 {
		r.order = r.rng.Perm(len(all))
	}
	w := all[r.order[0]]
	r.order = r.order[1:]
	return w
}

// rebuild is a round in which a copy is behind, or gone, and is brought up to date below
// the hands of its users; the copies are compared, the primary is lost, and the rebuilt copy
// goes on (G4).
//
// How others failed: a block that was partly written while it was copied was filled up with
// zeroes, and the copy reported as healthy.
func (r *round) rebuild(ctx context.Context) error {
	defer func() { _ = r.mend(context.WithoutCancel(ctx)) }() // a round that went well has mended all
	if err := r.prepare(ctx); err != nil {
		return err
	}
	w := r.nextWay()
	r.disturbance = w.name
	if err := r.scribble(ctx, r.user); err != nil {
		return err
	}
	if err := r.bringBack(ctx, w); err != nil {
		return err
	}
	if err := r.compareNow(ctx); err != nil {
		return err
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
	if err := errors.Join(r.bury(ctx, next), r.goOn(ctx, next)); err != nil {
		return err
	}
	return r.scribble(ctx, next)
}

// bringBack has the follower be behind and catch up, as a way says.
func (r *round) bringBack(ctx context.Context, w way) error {
	if err := w.away(ctx); err != nil {
		return err
	}
	if err := r.awaitLag(ctx, w.until); err != nil {
		return err
	}
	before, _, err := r.scribbler.heard()
	if err != nil {
		return err
	}
	began := time.Now()
	if w.midst != nil {
		if err := r.interrupt(ctx, w.midst); err != nil {
			return err
		}
	} else if err := r.mend(ctx); err != nil {
		return err
	}
	r.grow(ctx)
	// One that was away for a moment may count all the time: acknowledgements then need it.
	for _, await := range []func(context.Context) error{
		r.awaitFollower,
		func(ctx context.Context) error { return r.user.awaitAcks(ctx, 20) },
		r.awaitFollower,
	} {
		if err := await(ctx); err != nil {
			return err
		}
	}
	after, _, err := r.scribbler.heard()
	if err != nil {
		return err
	}
	if took := time.Since(began); took > slowRebuild {
		if err := r.keepLogs(ctx, filepath.Join(r.evidence, fmt.Sprintf("slow-%d", r.number))); err != nil {
			return err
		}
	}
	for kind, n := range after {
		r.rebuilt.did = append(r.rebuilt.did, counted{kind, n - before[kind]})
	}
	r.rebuilt.shows = append(r.rebuilt.shows, w.shows...)
	r.rebuilt.rebuilds = 1
	return r.learn(began)
}

// interrupt breaks a rebuild off when it has come half of the way, over a link on which that
// takes a while.
func (r *round) interrupt(ctx context.Context, strike func(context.Context) error) error {
	const rate = 12 << 20
	mends := r.mends
	r.mends = nil
	for _, mend := range slices.Backward(mends) {
		if err := mend(ctx); err != nil {
			return err
		}
	}
	r.mends = append(r.mends, r.healLink)
	if err := r.c.Slow(ctx, r.primary, r.follower, 0, rate); err != nil {
		return err
	}
	err := r.awaitVolume(ctx, "chunks to be on their way", func(v *v1.Volume) bool {
		p := copyOf(v, r.follower).GetProgress()
		return 2*p.GetDoneBytes() >= max(p.GetTotalBytes(), 1) || inSync(v, r.follower)
	})
	if err != nil {
		return err
	}
	r.grow(ctx)
	if err := strike(ctx); err != nil {
		return err
	}
	return r.mend(ctx)
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

// leave has the follower miss some of what is written, by the death of its agent or of its links.
func (r *round) leave(ctx context.Context) error {
	if r.rng.IntN(3) > 0 {
		r.mends = append(r.mends, launch(r.follower))
		return errors.Join(r.follower.Agent.Kill(ctx), r.awaitWithout(ctx))
	}
	r.mends = append(r.mends, r.c.Heal)
	return errors.Join(r.c.Isolate(ctx, r.follower), r.awaitWithout(ctx))
}

// blink has the follower miss less than it would be given up for, mostly.
func (r *round) blink(ctx context.Context) error {
	r.mends = append(r.mends, launch(r.follower))
	return errors.Join(r.follower.Agent.Kill(ctx), r.linger(ctx))
}

// wipe is leave for good: what the follower had is gone when it is back.
func (r *round) wipe(ctx context.Context) error {
	r.mends = append(r.mends, launch(r.follower))
	if err := errors.Join(r.follower.Agent.Kill(ctx), r.awaitWithout(ctx)); err != nil {
		return err
	}
	return os.RemoveAll(r.folder(r.follower))
}

// swap has the follower take over from a primary that goes on by itself, in vain: that is the
// follower from then on, and its tail is to be cut.
func (r *round) swap(ctx context.Context) error {
	r.mends = append(r.mends, r.c.Heal)
	if err := r.c.Isolate(ctx, r.primary); err != nil {
		return err
	}
	next, err := r.takeOverAt(ctx, r.follower)
	if err != nil {
		return err
	}
	former := r.user
	if err := r.goOn(ctx, next); err != nil {
		return err
	}
	r.user, r.primary, r.follower = next, r.follower, r.primary
	if err := former.awaitGone(ctx); err != nil {
		return err
	}
	return errors.Join(r.scribble(ctx, next), r.awaitWithout(ctx))
}

// stumble, die, fadeAway and changeUser break a rebuild off.
func (r *round) stumble(ctx context.Context) error {
	return errors.Join(r.follower.CutPower(ctx), r.follower.PowerOn(ctx))
}

func (r *round) die(ctx context.Context) error {
	return errors.Join(r.follower.Agent.Kill(ctx), launch(r.follower)(ctx))
}

func (r *round) fadeAway(ctx context.Context) error {
	err := errors.Join(r.c.Isolate(ctx, r.follower), r.wait(ctx, r.lease+r.lease/2))
	return errors.Join(err, r.c.Heal(ctx))
}

// changeUser kills the engine: the volume is attached anew on the same node, by another user.
func (r *round) changeUser(ctx context.Context) error {
	if err := errors.Join(r.signalEngine(ctx, "KILL"), r.user.awaitGone(ctx)); err != nil {
		return err
	}
	next, err := r.takeOverAt(ctx, r.primary)
	if err != nil {
		return err
	}
	if err := r.goOn(ctx, next); err != nil {
		return err
	}
	r.user = next
	return r.scribble(ctx, next)
}

// scribble has a scribbler work beside a user. It finds what the one before it left.
func (c *campaign) scribble(ctx context.Context, beside *session) error {
	if c.scribbler != nil && c.scribbled == beside {
		return nil
	}
	if err := c.endScribbler(ctx); err != nil {
		return err
	}
	next, err := beginScribbler(beside.node, //nolint:contextcheck // it ends with the mount or the machine
		beside.mountpoint, c.seed+uint64(c.users)+1, c.scribbler)
	if err != nil {
		return err
	}
	c.scribbler, c.scribbled = next, beside
	return next.awaitReady(ctx)
}

// endScribbler lets the volume be unmounted.
func (c *campaign) endScribbler(ctx context.Context) error {
	if c.scribbler == nil {
		return nil
	}
	return c.scribbler.end(ctx)
}

// grow makes the volume larger, now and then, and notes whether the follower was behind all
// the time.
func (r *round) grow(ctx context.Context) {
	const most = 256 << 20
	if r.rebuilt.grown || r.rng.IntN(4) > 0 {
		return
	}
	v, err := r.api(r.primary).Inspect(ctx, volumeName)
	if err != nil || v.GetSizeBytes() >= most {
		return
	}
	r.rebuilt.shows = append(r.rebuilt.shows, resized)
	size := fmt.Sprintf("%dM", v.GetSizeBytes()>>20+2)
	_, err = r.api(r.primary).Volumes.Resize(ctx, connect.NewRequest(&v1.ResizeRequest{Name: volumeName, Size: size}))
	if err != nil && !strings.Contains(err.Error(), "CAP_SYS_RESOURCE") {
		return // what never worked, the tally says
	}
	// Where its machine may not do that, the filesystem did not grow: the volume did before.
	v, err = r.api(r.primary).Inspect(ctx, volumeName)
	r.rebuilt.grown = err == nil && !inSync(v, r.follower)
}

// compareNow compares the copies, whatever the number of the round.
func (r *round) compareNow(ctx context.Context) error {
	if r.compare == 0 {
		return nil
	}
	at := *r
	at.number = r.compare
	err := at.compareSometimes(ctx)
	r.compared = at.compared
	return err
}

// awaitLag waits until the follower lacks some of what was written.
func (r *round) awaitLag(ctx context.Context, bytes int64) error {
	if bytes < 0 {
		return nil
	}
	if err := r.user.awaitAcks(ctx, 20+r.rng.IntN(100)); err != nil || bytes == 0 {
		return err
	}
	// Users that sync what they write take long for so much.
	if err := r.pour(ctx, bytes); err != nil {
		return err
	}
	return r.awaitVolume(ctx, r.follower.Name+" to be far behind", func(v *v1.Volume) bool {
		return int64(copyOf(v, r.follower).GetLagBytes()) >= bytes
	})
}

// pour has a program write much through the filesystem.
func (r *round) pour(ctx context.Context, bytes int64) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rebuildLimit)
	defer cancel()
	_, err = r.primary.Output(ctx, self, "pour", r.user.mountpoint, strconv.FormatInt(bytes, 10))
	return err
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
	ctx, cancel := context.WithTimeout(ctx, rebuildLimit)
	defer cancel()
	return lab.Poll(ctx, what, func(ctx context.Context) error {
		v, err := r.api(r.primary).Inspect(ctx, volumeName)
		if err == nil && !is(v) {
			err = fmt.Errorf("in sync: %s; copies: %s", strings.Join(slices.Clone(agentapi.InSync(v)), ", "), copiesOf(v))
		}
		return err
	})
}

// copyOf is what is known of a node's copy.
func copyOf(v *v1.Volume, n *lab.Node) *v1.Copy {
	for _, c := range v.GetCopies() {
		if c.GetNode() == n.Name {
			return c
		}
	}
	return nil
}

// counted is a number of something.
type counted struct {
	what string
	n    int
}

// rebuilding is what a round showed about how its copy was rebuilt.
type rebuilding struct {
	rebuilds int      // 1, if it was one
	shows    []string // what it should have
	grown    bool
	did      []counted
	ways     []string
}

// addTo adds a round to the tally.
func (b rebuilding) addTo(t *tally) {
	if t.ways == nil {
		t.ways, t.wanted, t.did = map[string]int{}, map[string]int{}, map[string]int{}
	}
	t.rebuilds += b.rebuilds
	for _, name := range b.ways {
		t.ways[name]++
	}
	for _, name := range b.shows {
		t.wanted[name]++
	}
	for _, c := range b.did {
		t.did[c.what] += c.n
	}
}

// never are the ways that should have been gone, and never were.
func (t *tally) never() error {
	const enough = 24 // for every way to be gone twice
	if t.rebuilds < enough {
		return nil
	}
	var never []string
	for _, name := range slices.Sorted(maps.Keys(t.wanted)) {
		if t.ways[name] == 0 {
			never = append(never, name)
		}
	}
	for _, kind := range scribbleKinds {
		if t.did[kind] == 0 {
			never = append(never, kind+" while rebuilding")
		}
	}
	if len(never) > 0 {
		return fmt.Errorf("what was never seen, nothing was shown of: %s", strings.Join(never, "; "))
	}
	return nil
}
