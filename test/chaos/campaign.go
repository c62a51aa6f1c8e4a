package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/ballast-io/ballast/internal/api/ballastv1"
	"github.com/ballast-io/ballast/test/chaos/blocks"
	"github.com/ballast-io/ballast/test/lab"
	"github.com/ballast-io/ballast/test/lab/agentapi"
)

// options of a campaign.
type options struct {
	rounds   int
	rebuilds int // rounds with a rebuilt copy, after the others
	seed     uint64
	nodes    int
	replicas int
	lease    time.Duration
	compare  int    // compare copies every so many rounds
	way      string // rebuild in no other way; "": all
	evidence string // folder for what was wrong; "": nowhere
	ballast  string // the binary; "": this module's
	only     string // use no other loss; "": all
	disturb  string // use no other disturbance; "": all
	progress io.Writer
}

const volumeName = "db"

// Limits on what waits for the product. They bound failures only.
const (
	wellLimit = 3 * time.Minute  // until enough copies are in sync
	ackLimit  = 30 * time.Second // until a primary that lives has gone on
	takeLimit = 30 * time.Second // until another has taken over that can, beyond the lease
	backLimit = 2 * time.Minute  // until the volume can be used again when all is mended
	goneLimit = time.Minute      // until nothing is left of a former primary
)

// campaign is one run of the program.
type campaign struct {
	options
	c     *lab.Cluster
	rng   *rand.Rand
	apis  map[*lab.Node]*agentapi.Client
	id    string // of the volume
	users uint32 // incarnations so far
	user  *session
	deck  map[string][]fault // what is left of each kind of fault before it is shuffled anew
	tally tally

	order     []int      // of the ways that copies are rebuilt by
	scribbler *scribbler // nil before the first rebuild
	scribbled *session   // beside which it works
}

// run makes a cluster and does all rounds on it.
func run(ctx context.Context, opts options) (t *tally, err error) {
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		return &tally{}, err
	}
	c := &campaign{options: opts, rng: rand.New(rand.NewPCG(opts.seed, 1)), apis: map[*lab.Node]*agentapi.Client{}, deck: map[string][]fault{}}
	c.tally.start = time.Now()
	c.c, err = lab.NewCluster(ctx, dir, opts.nodes, lab.ClusterOptions{Machine: lab.Options{
		Ballast: opts.ballast, Disk: 4 << 30, AgentArgs: opts.agentArgs(),
	}})
	if err != nil {
		return &c.tally, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.keepLogs(context.WithoutCancel(ctx), c.evidence))
		}
		err = errors.Join(err, c.c.Close())
	}()
	err = c.campaign(ctx)
	c.tally.elapsed = time.Since(c.tally.start)
	return &c.tally, err
}

// agentArgs are those of every node. Its logs are short, so that a copy that was away for a
// while may need chunks.
func agentArgs(lease time.Duration) []string {
	return []string{"--lease", lease.String(), "--log-capacity", "256M"}
}

func (o options) agentArgs() []string {
	if o.rounds == 0 && o.rebuilds > 0 {
		return rebuildArgs(o.lease)
	}
	return agentArgs(o.lease)
}

func (c *campaign) campaign(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	for i := range c.rounds + c.rebuilds {
		r := &round{campaign: c, number: i + 1, user: c.user, primary: c.user.node}
		play := r.run
		if i >= c.rounds {
			play = r.rebuild
		}
		if err := play(ctx); err != nil {
			return fmt.Errorf("round %d (%s; %s; primary %s, follower %s): %w", r.number, r.disturbance, r.loss, r.primary.Name, nameOf(r.follower), err)
		}
		c.tally.add(r)
		fmt.Fprintln(c.progress, r)
	}
	return c.end(ctx)
}

func nameOf(n *lab.Node) string {
	if n == nil {
		return "none"
	}
	return n.Name
}

// begin makes the volume, and its first user.
func (c *campaign) begin(ctx context.Context) error {
	first := c.c.Nodes[0]
	v, err := c.api(first).Create(ctx, volumeName, map[string]string{"size": "64M", "repl": fmt.Sprint(c.replicas)})
	if err != nil {
		return err
	}
	c.id = v.GetId()
	mountpoint, err := c.api(first).Attach(ctx, volumeName, c.holder())
	if err != nil {
		return err
	}
	return c.use(ctx, first, mountpoint)
}

// end lets the last user's words be judged.
func (c *campaign) end(ctx context.Context) error {
	last := &round{campaign: c, number: c.rounds + c.rebuilds + 1, user: c.user, primary: c.user.node, disturbance: "nothing", loss: "the end"}
	if _, err := last.awaitWell(ctx); err != nil {
		return err
	}
	n := c.user.node
	c.user.kill()
	if err := c.endScribbler(ctx); err != nil {
		return err
	}
	if err := c.api(n).Detach(ctx, volumeName, c.user.holder); err != nil {
		return err
	}
	mountpoint, err := c.api(n).Attach(ctx, volumeName, c.holder())
	if err != nil {
		return err
	}
	reader, err := c.begins(ctx, n, mountpoint, true)
	if err != nil {
		return err
	}
	acks, _ := last.user.heard.Acks()
	c.tally.acks += acks
	return last.judge(reader)
}

func (c *campaign) api(n *lab.Node) *agentapi.Client {
	if c.apis[n] == nil {
		c.apis[n] = agentapi.Of(n.Machine)
	}
	return c.apis[n]
}

// holder is who holds the volume for the next user.
func (c *campaign) holder() string { return fmt.Sprintf("chaos-%d", c.users+1) }

// use begins a user that has not read anything yet.
func (c *campaign) use(ctx context.Context, n *lab.Node, mountpoint string) error {
	s, err := c.begins(ctx, n, mountpoint, false)
	if err == nil {
		c.user = s
	}
	return err
}

func (c *campaign) begins(ctx context.Context, n *lab.Node, mountpoint string, readOnly bool) (*session, error) {
	v, err := c.api(n).Inspect(ctx, volumeName)
	if err != nil {
		return nil, err
	}
	c.users++
	s, err := beginSession(n, //nolint:contextcheck // it ends with the mount or the machine
		mountpoint, blocks.Options{Incarnation: c.users, Seed: c.seed + uint64(c.users), ReadOnly: readOnly})
	if err != nil {
		return nil, err
	}
	s.epoch, s.holder = v.GetEpoch(), fmt.Sprintf("chaos-%d", c.users)
	if err := s.awaitReady(ctx); err != nil {
		// Nobody judges what it would write: it must not.
		s.kill()
		return nil, errors.Join(err, c.api(n).Detach(context.WithoutCancel(ctx), volumeName, s.holder))
	}
	return s, nil
}

// draw returns the next fault of a kind: in turn, in an order that the seed shuffles.
func (c *campaign) draw(kind string, all []fault) fault {
	if len(c.deck[kind]) == 0 {
		c.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		c.deck[kind] = all
	}
	f := c.deck[kind][0]
	c.deck[kind] = c.deck[kind][1:]
	return f
}

// chosen are the faults of that name, or all.
func chosen(all []fault, name string) []fault {
	if name == "" {
		return all
	}
	return slices.DeleteFunc(all, func(f fault) bool { return f.name != name })
}

// folder is where the volume's files are on a node, as the host finds them.
func (c *campaign) folder(n *lab.Node) string {
	return n.Outside(n.Path("ballast", "volumes", c.id))
}

// keepLogs keeps in a folder what all programs said (K4).
func (c *campaign) keepLogs(ctx context.Context, in string) error {
	if c.evidence == "" {
		return nil
	}
	for _, n := range c.c.Nodes {
		to := filepath.Join(in, n.Name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		engines, err := filepath.Glob(n.Outside(n.Path("ballast", "volumes", "*", "engine.log")))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, "state.txt"), []byte(stateNow(ctx, n)), 0o644); err != nil {
			return err
		}
		for _, file := range append(engines, n.Agent.LogFile()) {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // nothing ran
			}
			if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// stateNow is what a node's kernel and its agent say at the moment.
func stateNow(ctx context.Context, n *lab.Node) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var all strings.Builder
	for _, words := range [][]string{
		{"ps", "-eo", "pid,stat,wchan:20,etimes,args"},
		{"cat", "/proc/self/mountinfo"},
		{"ballast", "status"},
		{"ballast", "node", "ls"},
		{"ballast", "volume", "inspect", volumeName},
	} {
		run := n.Output
		if words[0] == "ballast" {
			run = func(ctx context.Context, _ string, args ...string) (string, error) { return n.Ballast(ctx, args...) }
		}
		out, err := run(ctx, words[0], words[1:]...)
		fmt.Fprintf(&all, "$ %s\n%s\n", strings.Join(words, " "), out)
		if err != nil {
			fmt.Fprintf(&all, "(%v)\n", err)
		}
	}
	return all.String()
}

// inSync reports whether a node's copy counts.
func inSync(v *v1.Volume, n *lab.Node) bool { return slices.Contains(agentapi.InSync(v), n.Name) }
