package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeRetain(c *cli) *cobra.Command {
	var policy string
	var apply, asJSON bool
	cmd := &cobra.Command{
		Use:   "retain NAME [--policy POLICY | --apply]",
		Short: "show which of a volume's history its retention keeps; delete the rest",
		Long: `Show which of a volume's history its retention keeps and why, and what goes.
With --apply it is deleted, which the agent also does by itself. What a kept
point or another volume needs never goes.

A POLICY is "any second for 24h, hourly 7d, daily 30d"; --policy shows what
another one than the volume's would keep.`,
		Example:           "  ballast volume retain db\n  ballast volume retain db --policy \"any second for 48h, daily 90d\"\n  ballast volume retain db --apply",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if policy != "" && apply {
				return usagef("--policy only shows what it would keep: --apply goes by the volume's own, which is its option keep")
			}
			res, err := ask(cmd.Context(), doLimit, c.agent().volumes.Retain, &ballastv1.RetainRequest{Name: args[0], Policy: policy, Apply: apply})
			switch {
			case err != nil:
				return c.explainHistory(cmd.Context(), args[0], err)
			case asJSON:
				return writeJSON(c.stdout, toRetainJSON(res, apply))
			}
			return c.printRetain(args[0], res, apply)
		},
	}
	cmd.Flags().StringVar(&policy, "policy", "", "show what `POLICY` would keep")
	cmd.Flags().BoolVar(&apply, "apply", false, "delete what goes")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) printRetain(name string, res *ballastv1.RetainResponse, apply bool) error {
	rows, goes := [][]string{{"TIME", "WHAT", "RETENTION"}}, 0
	for _, step := range res.GetSteps() {
		rows = append(rows, []string{c.clock(step.GetTime()), whatStep(step.GetWhat()), retention(step)})
		if !step.GetKeep() {
			goes++
		}
	}
	err := table(c.stdout, rows)
	switch {
	case goes == 0:
		fmt.Fprintln(c.stdout, "\nnothing goes")
	case apply:
		fmt.Fprintf(c.stdout, "\ndeleted: %s, %s of the log; \"ballast archive prune --apply\" frees what snapshots took\n", count(goes, "thing"), size(res.GetFreedBytes()))
	default:
		fmt.Fprintf(c.stdout, "\nwould delete %s, %s of the log: ballast volume retain %s --apply\n", count(goes, "thing"), size(res.GetFreedBytes()), name)
	}
	return err
}

// whatStep shortens a snapshot's id; a stretch of the log is words already.
func whatStep(what string) string {
	const idLen = 64
	if len(what) == idLen {
		return "snapshot " + shortID(what)
	}
	return what
}

type retainJSON struct {
	Steps      []retainStepJSON `json:"steps"`
	FreedBytes uint64           `json:"freed_bytes"`
	Applied    bool             `json:"applied"`
}

type retainStepJSON struct {
	Keep   bool       `json:"keep"`
	What   string     `json:"what"`
	Time   *time.Time `json:"time"`
	Reason string     `json:"reason"`
}

func toRetainJSON(res *ballastv1.RetainResponse, apply bool) retainJSON {
	all := retainJSON{Steps: []retainStepJSON{}, FreedBytes: res.GetFreedBytes(), Applied: apply}
	for _, step := range res.GetSteps() {
		all.Steps = append(all.Steps, retainStepJSON{step.GetKeep(), step.GetWhat(), toTime(step.GetTime()), step.GetReason()})
	}
	return all
}
