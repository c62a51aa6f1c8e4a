package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/test/chaos/history"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// round is one loss of a primary, and what led to it and came of it.
type round struct {
	*campaign
	number    int
	user      *session  // on the primary
	primary   *lab.Node // to be lost
	follower  *lab.Node // in sync, and the one that a disturbance is about
	bystander *lab.Node // neither

	disturbance, loss string
	mends             []func(context.Context) error // of what is broken

	struck   time.Time
	survived bool          // the primary was not lost
	took     time.Duration // until another had its first write acknowledged
	waited   bool          // only after all was mended
	compared verdict
	rebuilt  rebuilding
}

func (r *round) String() string {
	came := fmt.Sprintf("%s took over after %.1f s", r.campaign.user.node.Name, r.took.Seconds())
	if r.waited {
		came = fmt.Sprintf("%s went on after %.1f s, when all was mended", r.campaign.user.node.Name, r.took.Seconds())
	}
	if r.survived {
		came = "the primary survived"
	}
	if r.compared.copies > 0 {
		came += fmt.Sprintf("; %d copies are the same at LSN %d", r.compared.copies, r.compared.at)
	}
	if len(r.rebuilt.ways) > 0 {
		came += "; rebuilt: " + strings.Join(r.rebuilt.ways, ", ")
	}
	n, _ := r.user.heard.Acks()
	return fmt.Sprintf("%4d  %s: %s, %s; %d acks; %s", r.number, r.primary.Name, r.disturbance, r.loss, n, came)
}

func (r *round) run(ctx context.Context) error {
	// What is broken is mended even when the round fails: the logs say more then.
	defer func() { _ = r.mend(context.WithoutCancel(ctx)) }() // a round that went well has mended all
	next, err := r.untilTakenOver(ctx)
	if err != nil || r.survived {
		return err
	}
	return errors.Join(r.bury(ctx, next), r.explain(ctx, r.goOn(ctx, next)))
}

// untilTakenOver is a round until another one has taken over.
func (r *round) untilTakenOver(ctx context.Context) (next *session, err error) {
	if err = r.prepare(ctx); err == nil {
		err = r.compareSometimes(ctx)
	}
	if err == nil {
		next, err = r.strike(ctx)
	}
	if err == nil || r.loss != "" || !r.leaseRanOut(ctx) {
		return next, err
	}
	if r.disturbance == "" {
		r.disturbance = "nothing"
	}
	r.loss, r.struck, r.waited = byItself, time.Now(), true
	if err := r.mend(ctx); err != nil {
		return nil, fmt.Errorf("mend what was broken: %w", err)
	}
	return r.takeOver(ctx, backLimit)
}

// byItself is the loss of a primary whose node could not renew its lease in time, because the machine
// is busy with other things: nothing is wrong with that. But see [tally.mostByThemselves].
const byItself = "lost by itself"

// leaseRanOut reports whether the user has ended because the primary was fenced off in time.
func (r *round) leaseRanOut(ctx context.Context) bool {
	if ended, _ := r.user.heard.Ended(); !ended {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	err := lab.Poll(ctx, "a word about the lease", func(ctx context.Context) error {
		v, err := r.api(r.primary).Inspect(ctx, volumeName)
		for _, c := range v.GetConditions() {
			if c.GetCode() == "volume-fenced" && strings.Contains(c.GetTitle(), "could not renew its lease") {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("conditions: %v", v.GetConditions()))
	})
	return err == nil
}

// explain adds to what users found wrong whether the copies agree about it (K4).
func (r *round) explain(ctx context.Context, err error) error {
	if !errors.Is(err, errWrong) {
		return err
	}
	after := &round{campaign: r.campaign, user: r.campaign.user, primary: r.campaign.user.node, number: r.compare}
	if _, werr := after.awaitWell(ctx); werr != nil {
		return errors.Join(err, werr)
	}
	if cerr := after.compareSometimes(ctx); cerr != nil {
		return errors.Join(err, cerr)
	}
	return fmt.Errorf("%w\nthe copies agree about that at LSN %d, and its filesystem is sound", err, after.compared.at)
}

// strike disturbs the primary and then takes it away. It returns who has taken over.
func (r *round) strike(ctx context.Context) (*session, error) {
	mended, err := r.disturb(ctx)
	if errors.Is(err, errLost) {
		r.loss, r.struck = "lost by that", time.Now()
		return r.takeOver(ctx, r.lease+takeLimit)
	}
	if err != nil {
		return nil, fmt.Errorf("disturb the primary: %w", err)
	}
	return r.lose(ctx, mended)
}

// errLost says that a disturbance took the primary away.
var errLost = errors.New("the primary is lost")

// prepare waits until all is well, and looks who is who.
func (r *round) prepare(ctx context.Context) error {
	r.cast(nil)
	v, err := r.awaitWell(ctx)
	if err != nil {
		return err
	}
	r.cast(v)
	return r.user.awaitAcks(ctx, 30+r.rng.IntN(70))
}

// cast says who is who.
func (r *round) cast(v *v1.Volume) {
	var in, out []*lab.Node
	for _, n := range r.c.Nodes {
		switch {
		case n == r.primary:
		case inSync(v, n):
			in = append(in, n)
		default:
			out = append(out, n)
		}
	}
	all := append(in, out...)
	r.follower, r.bystander = all[r.rng.IntN(max(1, len(in)))], all[len(all)-1]
	if r.bystander == r.follower {
		r.bystander = all[0]
	}
}

// awaitWell waits until as many copies are in sync as there shall be.
func (r *round) awaitWell(ctx context.Context) (v *v1.Volume, err error) {
	ctx, cancel := context.WithTimeout(ctx, wellLimit)
	defer cancel()
	err = lab.Poll(ctx, "enough copies to be in sync", func(ctx context.Context) (err error) {
		if v, err = r.api(r.primary).Inspect(ctx, volumeName); err != nil {
			return err
		}
		if in := agentapi.InSync(v); len(in) < r.replicas || !inSync(v, r.primary) {
			return fmt.Errorf("in sync: %v; copies: %s; conditions: %v", in, copiesOf(v), v.GetConditions())
		}
		return nil
	})
	return v, err
}

func copiesOf(v *v1.Volume) string {
	var all []string
	for _, c := range v.GetCopies() {
		all = append(all, fmt.Sprintf("%s %s at %d %s", c.GetNode(), c.GetState(), c.GetDurableLsn(), c.GetError()))
	}
	return strings.Join(all, ", ")
}

// still is said of a disturbance that lasts while the primary is lost.
const still = " still"

// disturb strikes with something that the primary has to live with, and says whether that
// was mended before it returns.
func (r *round) disturb(ctx context.Context) (mended bool, err error) {
	d := r.draw("disturbance", chosen(disturbances(), strings.TrimSuffix(r.options.disturb, still)))
	r.disturbance = d.name
	mend, err := d.strike(ctx, r)
	if mend != nil {
		r.mends = append(r.mends, mend)
	}
	if err != nil {
		return false, err
	}
	if err := r.user.awaitAcks(ctx, 5); err != nil {
		if d.mayLose {
			err = errors.Join(err, errLost)
		}
		return false, err
	}
	if err := r.linger(ctx); err != nil {
		return false, err
	}
	if d.name != "nothing" && r.rng.IntN(4) == 0 || strings.HasSuffix(r.options.disturb, still) {
		r.disturbance += still
		return false, nil
	}
	if err := r.mend(ctx); err != nil {
		return false, err
	}
	// Half of the time, the loss finds everybody catching up.
	if r.rng.IntN(2) == 0 {
		_, err = r.awaitWell(ctx)
		return err == nil, err
	}
	r.disturbance += " just now"
	return false, nil
}

func (r *round) mend(ctx context.Context) (err error) {
	for _, mend := range slices.Backward(r.mends) {
		err = errors.Join(err, mend(ctx))
	}
	r.mends = nil
	return err
}

// lose takes the primary away and has another one take over, while it is away if others
// can. well says that nothing else is wrong.
func (r *round) lose(ctx context.Context, well bool) (*session, error) {
	l := r.draw("loss", chosen(losses(), r.only))
	r.loss = l.name
	if l.everywhere && len(r.mends) > 0 { // what is off already cannot be switched off
		r.disturbance = strings.TrimSuffix(r.disturbance, still) + " just now"
		if err := r.mend(ctx); err != nil {
			return nil, fmt.Errorf("mend what was broken: %w", err)
		}
	}
	mend, err := l.strike(ctx, r)
	r.struck = time.Now()
	if mend != nil {
		r.mends = append(r.mends, mend)
	}
	if err != nil {
		return nil, fmt.Errorf("lose the primary: %w", err)
	}
	if !l.everywhere {
		limit := r.lease + 2*time.Second
		if well {
			limit = r.lease + takeLimit
		}
		next, err := r.takeOver(ctx, limit)
		if err == nil || well {
			return next, err
		}
	} else if err := r.linger(ctx); err != nil {
		return nil, err
	}
	r.waited = true
	if err := r.mend(ctx); err != nil {
		return nil, fmt.Errorf("mend what was broken: %w", err)
	}
	if r.lives(ctx) {
		r.survived = true
		return nil, nil
	}
	return r.takeOver(ctx, backLimit)
}

// lives waits until the primary goes on, or is known not to.
func (r *round) lives(ctx context.Context) bool {
	return r.user.awaitAcks(ctx, 5) == nil
}

// takeOver attaches the volume somewhere else, and returns its user.
func (r *round) takeOver(ctx context.Context, limit time.Duration) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	able := []*lab.Node{r.follower, r.bystander}
	if r.rng.IntN(4) == 0 {
		slices.Reverse(able) // where no copy is
	}
	if r.waited || r.loss == engineKilled {
		able = append(able, r.primary)
	}
	var next *session
	err := lab.Poll(ctx, "another to take over", func(ctx context.Context) (err error) {
		for _, n := range able {
			var failed error
			if next, failed = r.attach(ctx, n); failed == nil {
				return nil
			}
			err = errors.Join(err, fmt.Errorf("%s: %w", n.Name, failed))
		}
		return err
	})
	return next, err
}

// attach makes a node the primary, and begins a user there.
func (r *round) attach(ctx context.Context, n *lab.Node) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	mountpoint, err := r.api(n).Attach(ctx, volumeName, r.holder())
	if err != nil {
		return nil, err
	}
	return r.begins(ctx, n, mountpoint, false)
}

// bury mends what was broken, and sees to it that nothing of the former primary is left.
func (r *round) bury(ctx context.Context, next *session) error {
	if err := next.awaitAcks(ctx, 1); err != nil {
		return err
	}
	r.took = time.Since(r.struck)
	if err := r.mend(ctx); err != nil {
		return fmt.Errorf("mend what was broken: %w", err)
	}
	if err := r.user.awaitGone(ctx); err != nil {
		return err
	}
	if next.node == r.primary {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	return lab.Poll(ctx, "the former primary's mount to be gone", func(ctx context.Context) error {
		mounts, err := r.primary.Output(ctx, "cat", "/proc/self/mountinfo")
		if err == nil && strings.Contains(mounts, " "+r.user.mountpoint+" ") {
			err = fmt.Errorf("%s is mounted on %s", r.user.mountpoint, r.primary.Name)
		}
		return err
	})
}

// goOn judges what the former user saw, and makes the next one the campaign's.
func (r *round) goOn(ctx context.Context, next *session) error {
	r.campaign.user = next
	if err := next.awaitAcks(ctx, 20); err != nil { // K2
		return err
	}
	return r.judge(next)
}

func (r *round) judge(next *session) error {
	i, j := r.user.incarnation(), next.incarnation()
	var wrong []string
	for _, v := range append(history.Check(i, j), history.CheckWriters([]*history.Incarnation{i, j})...) {
		wrong = append(wrong, v.String())
	}
	if len(wrong) == 0 {
		return nil
	}
	const enough = 20
	more := ""
	if len(wrong) > enough {
		more = fmt.Sprintf("\nand %d more", len(wrong)-enough)
		wrong = wrong[:enough]
	}
	return fmt.Errorf("%w:\n%s%s", errWrong, strings.Join(wrong, "\n"), more)
}

// errWrong is a promise that was broken.
var errWrong = errors.New("what users saw is not what one disk shows")

// compareSometimes compares the copies that are in sync, every so many rounds.
func (r *round) compareSometimes(ctx context.Context) error {
	if r.compare == 0 || r.number%r.compare != 0 {
		return nil
	}
	clones, err := r.clone(ctx)
	if err == nil {
		r.compared, err = compareCopies(ctx, clones)
	}
	if err != nil && r.evidence != "" {
		for name, dir := range clones {
			err = errors.Join(err, os.CopyFS(filepath.Join(r.evidence, "copy-of-"+name), os.DirFS(dir)))
		}
	}
	for _, dir := range clones {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("compare the copies: %w", err)
	}
	return nil
}

// clone takes all copies that are in sync as they are at one moment: all machines are
// stopped meanwhile. It returns the folders by node, each on the node's own disk.
func (r *round) clone(ctx context.Context) (map[string]string, error) {
	before, err := r.api(r.primary).Inspect(ctx, volumeName)
	if err != nil {
		return nil, err
	}
	at := func(n *lab.Node) string { return n.Outside(n.Path("ballast", "clone")) }
	err = r.whileStopped(ctx, func() error {
		return r.each(func(n *lab.Node) error {
			if !inSync(before, n) {
				return nil
			}
			return cloneFolder(r.folder(n), at(n))
		})
	})
	if err != nil {
		return nil, err
	}
	after, err := r.awaitWell(ctx)
	if err != nil {
		return nil, err
	}
	clones := map[string]string{}
	for _, n := range r.c.Nodes {
		switch {
		case inSync(before, n) && inSync(after, n):
			clones[n.Name] = at(n)
		case inSync(before, n):
			err = errors.Join(err, os.RemoveAll(at(n)))
		}
	}
	if len(clones) < 2 { // K3
		err = errors.Join(err, fmt.Errorf("only %d copies were in sync before and after they were taken", len(clones)))
	}
	return clones, err
}

func (r *round) whileStopped(ctx context.Context, do func() error) error {
	awake := r.user.asleepFrom()
	defer awake()
	err := r.each(func(n *lab.Node) error { return n.Stop(ctx) })
	if err == nil {
		err = do()
	}
	return errors.Join(err, r.each(func(n *lab.Node) error { return n.Continue(context.WithoutCancel(ctx)) }))
}
