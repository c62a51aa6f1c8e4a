package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// failover is what the options of failover ask for.
type failover struct {
	node               string
	force, yes, asJSON bool
}

func newVolumeFailover(c *cli) *cobra.Command {
	var f failover
	cmd := &cobra.Command{
		Use:   "failover NAME [--force] [--node NODE]",
		Short: "show from which copy a volume can go on, and what that loses; do it",
		Long: `Show from which copy a volume can go on whose in-sync copies cannot be reached,
and what going on from it loses. With --force it is done, which is asked for on
a terminal, and is written into the volume's record.

As long as one in-sync copy can be reached this is not needed: attaching the
volume, or starting its container, on any node goes on from that one and loses
nothing. So where the nodes with the in-sync copies will come back, wait for
them. The archive may have newer writes than an old copy: see "ballast volume
history", and "ballast volume restore --as".

What is given up is not deleted before it comes back: the node that has it
catches up from the copy that counts then.`,
		Example:           "  ballast volume failover db\n  ballast volume failover db --force\n  ballast volume failover db --force --node n3 --yes",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.force && f.asJSON && !f.yes {
				return usagef("with --json nobody is asked: add --yes to force a failover")
			}
			return c.failover(cmd, args[0], f)
		},
	}
	cmd.Flags().BoolVar(&f.force, "force", false, "do it, and lose what the plan says")
	c.nodeFlag(cmd, &f.node, "go on from the copy on `NODE` (default the newest that can be reached)")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask before forcing it")
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

// failover shows the plan, asks, and carries out that plan: another copy that turns up
// meanwhile is not what was agreed to.
func (c *cli) failover(cmd *cobra.Command, name string, f failover) error {
	ctx := cmd.Context()
	plan, err := ask(ctx, doLimit, c.agent().volumes.Failover, &ballastv1.FailoverRequest{Name: name, Node: f.node})
	if err != nil {
		return c.explainFailover(cmd, name, err)
	}
	apply := f.force && plan.GetChoice() != "" && !isInSync(plan)
	switch {
	case f.asJSON && !apply:
		err = writeJSON(c.stdout, toFailoverJSON(name, plan, nil))
	case !f.asJSON:
		err = c.printFailover(name, plan, f)
	}
	if err != nil || !apply {
		return firstError(err, cannotForce(name, plan, f.force))
	}
	if !f.yes {
		if err := c.confirm(ctx, fmt.Sprintf("Go on from the copy on %s, and lose that?", plan.GetChoice())); err != nil {
			return err
		}
	}
	done, err := ask(ctx, doLimit, c.agent().volumes.Failover, &ballastv1.FailoverRequest{Name: name, Apply: true, Node: plan.GetChoice()})
	switch {
	case err != nil:
		return c.explainFailover(cmd, name, err)
	case f.asJSON:
		return writeJSON(c.stdout, toFailoverJSON(name, plan, done.GetVolume()))
	}
	_, err = fmt.Fprintf(c.stdout, "\n%s goes on from the copy on %s, under epoch %d; it can be attached now\n", name, plan.GetChoice(), done.GetVolume().GetEpoch())
	return err
}

// cannotForce is the error of a failover that was to be forced and has no copy.
func cannotForce(name string, plan *ballastv1.FailoverResponse, force bool) error {
	if !force || plan.GetChoice() != "" {
		return nil
	}
	return &failure{exitRefused, fmt.Errorf("volume %q cannot go on from any copy; nothing was changed", name),
		fmt.Sprintf("start a node that has one, or see what the archive has: \"ballast volume history %s\"", name)}
}

// isInSync says that a plan goes on from a copy that counts anyway.
func isInSync(plan *ballastv1.FailoverResponse) bool {
	for _, one := range plan.GetCandidates() {
		if one.GetNode() == plan.GetChoice() {
			return one.GetInSync()
		}
	}
	return false
}

func (c *cli) printFailover(name string, plan *ballastv1.FailoverResponse, f failover) error {
	rows := [][]string{{"COPY ON", "IN SYNC", "EPOCH", "RECORD", "WRITTEN", ""}}
	for _, one := range plan.GetCandidates() {
		rows = append(rows, c.candidateRow(one))
	}
	if err := table(c.stdout, rows); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "\ngoes on from:  %s\nloses:         %s\n", or(plan.GetChoice(), "none"), plan.GetLoses())
	switch {
	case plan.GetChoice() == "":
	case isInSync(plan):
		fmt.Fprintf(c.stdout, "\nnothing has to be forced: attach it, or start its container, on any node\n")
	case !f.force:
		force := "ballast volume failover " + name + " --force"
		if f.node != "" {
			force += " --node " + f.node
		}
		fmt.Fprintf(c.stdout, "\nnothing was changed; to do it: %s\n", force)
	}
	return nil
}

func (c *cli) candidateRow(one *ballastv1.Candidate) []string {
	epoch, record := "-", "-"
	if one.GetEpoch() > 0 {
		epoch, record = fmt.Sprint(one.GetEpoch()), fmt.Sprint(one.GetLsn())
	}
	written := "-"
	if isSet(one.GetWrittenAt()) {
		written = c.clockAgo(one.GetWrittenAt())
	}
	note := one.GetError()
	if note == "" && one.GetSetAside() {
		note = "set aside by an earlier failover"
	}
	return []string{one.GetNode(), yesNo(one.GetInSync()), epoch, record, written, note}
}

// explainFailover is explainName for a call in which "not found" can also be a copy.
func (c *cli) explainFailover(cmd *cobra.Command, name string, err error) error {
	if c.isKnown(cmd.Context(), name) {
		return err
	}
	return c.explainName(cmd.Context(), name, err)
}

type failoverJSON struct {
	Name       string          `json:"name"`
	Candidates []candidateJSON `json:"candidates"`
	Choice     string          `json:"choice"` // the node whose copy goes on; empty: none can
	Loses      string          `json:"loses"`
	Applied    bool            `json:"applied"`
	Volume     *volumeJSON     `json:"volume,omitempty"` // once it was applied
}

type candidateJSON struct {
	Node      string     `json:"node"`
	InSync    bool       `json:"in_sync"`
	Epoch     uint64     `json:"epoch"`
	LSN       uint64     `json:"lsn"`
	WrittenAt *time.Time `json:"written_at"`
	SetAside  bool       `json:"set_aside"` // it has records that an earlier forced failover gave up
	Error     string     `json:"error"`     // why it cannot be used
}

func toFailoverJSON(name string, plan *ballastv1.FailoverResponse, after *ballastv1.Volume) failoverJSON {
	all := failoverJSON{Name: name, Candidates: []candidateJSON{}, Choice: plan.GetChoice(), Loses: plan.GetLoses(), Applied: after != nil}
	for _, one := range plan.GetCandidates() {
		all.Candidates = append(all.Candidates, candidateJSON{one.GetNode(), one.GetInSync(), one.GetEpoch(), one.GetLsn(), toTime(one.GetWrittenAt()), one.GetSetAside(), one.GetError()})
	}
	if after != nil {
		v := toVolumeJSON(after)
		all.Volume = &v
	}
	return all
}
