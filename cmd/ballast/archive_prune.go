package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newArchivePrune(c *cli) *cobra.Command {
	var apply, asJSON bool
	cmd := &cobra.Command{
		Use:   "prune [--apply]",
		Short: "show what no snapshot needs any more; free it",
		Long: `Show what in the archive no snapshot needs any more. With --apply it is freed.
Volumes are archived meanwhile; only snapshots wait. It can be interrupted at
any time: the archive stays whole.`,
		Example:           "  ballast archive prune\n  ballast archive prune --apply",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.prune(cmd, apply, asJSON)
		},
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "free what is not needed")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) prune(cmd *cobra.Command, apply, asJSON bool) error {
	pruned := pruneJSON{Plan: []string{}, Applied: apply}
	done := false
	err := follow(cmd.Context(), c, "the archive is whole; the same command again goes on with the rest",
		c.agent().archive.Prune, &ballastv1.PruneRequest{Apply: apply},
		func(m *ballastv1.PruneResponse, stdout io.Writer) {
			for _, line := range m.GetPlan() {
				pruned.Plan = append(pruned.Plan, line)
				if !asJSON {
					fmt.Fprintln(stdout, line)
				}
			}
			if m.GetDone() {
				done, pruned.FreedBytes = true, m.GetFreedBytes()
			}
		})
	switch {
	case err != nil:
		return err
	case !done:
		return errUnsaid
	case asJSON:
		return writeJSON(c.stdout, pruned)
	case apply:
		_, err = fmt.Fprintf(c.stdout, "%s freed\n", size(pruned.FreedBytes))
	case pruned.FreedBytes == 0: // the plan says it
		_, err = fmt.Fprintln(c.stdout, "nothing was changed; to carry it out: ballast archive prune --apply")
	default:
		_, err = fmt.Fprintf(c.stdout, "would free %s: ballast archive prune --apply\n", size(pruned.FreedBytes))
	}
	return err
}

type pruneJSON struct {
	Plan       []string `json:"plan"`
	FreedBytes uint64   `json:"freed_bytes"`
	Applied    bool     `json:"applied"`
}
