package main

import (
	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeClone(c *cli) *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "clone NAME NEW [--dry-run]",
		Short: "make a new volume of another as it is now",
		Long: `Make a new volume of another as it is now: what was not archived yet is archived
first. The other can be in use, and does not notice. The new one can be used at
once and fills in behind; from then on the two have nothing in common.`,
		Example:           "  ballast volume clone db db-test\n  docker volume create -d ballast -o from=db db-test",
		Args:              operands("NAME", "NEW"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.restoreAt(cmd, &ballastv1.RestoreAtRequest{Name: args[0], As: args[1], DryRun: dryRun}, asJSON)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would happen and change nothing")
	jsonFlag(cmd, &asJSON)
	return cmd
}
