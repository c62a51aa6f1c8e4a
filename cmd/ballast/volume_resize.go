package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeResize(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "resize NAME SIZE",
		Short:             "grow a volume, also while it is in use",
		Long:              "Grow a volume and its filesystem, also while it is in use. It cannot shrink.",
		Example:           "  ballast volume resize db 40G",
		Args:              operands("NAME", "SIZE"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := ask(cmd.Context(), doLimit, c.agent().volumes.Resize, &ballastv1.ResizeRequest{Name: args[0], Size: args[1]})
			switch {
			case err != nil:
				return c.explainName(cmd.Context(), args[0], err)
			case asJSON:
				return writeJSON(c.stdout, toVolumeJSON(res.GetVolume()))
			}
			_, err = fmt.Fprintf(c.stdout, "%s has %s now\n", res.GetVolume().GetName(), size(res.GetVolume().GetSizeBytes()))
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
