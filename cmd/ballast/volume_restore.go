package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeRestore(c *cli) *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "restore NAME|ID [--as NEW]",
		Short: "take a removed volume out of the trash",
		Long: `Take a removed volume out of the trash, with everything that was on it. Where
several volumes of that name were removed, name it by its ID.`,
		Example:           "  ballast volume ls --trash\n  ballast volume restore db\n  ballast volume restore db --as db-before",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := ask(cmd.Context(), doLimit, c.agent().volumes.Restore, &ballastv1.RestoreRequest{Name: args[0], As: as})
			if err != nil {
				return c.explainTrash(cmd.Context(), args[0], err)
			}
			v := res.GetVolume()
			_, err = fmt.Fprintf(c.stdout, "%s is back (%s, %s used)\n", v.GetName(), size(v.GetSizeBytes()), size(v.GetUsedBytes()))
			return err
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "restore it under the name `NEW`")
	return cmd
}
