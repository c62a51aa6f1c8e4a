package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// cliHolder is who holds a volume that a person attached.
const cliHolder = "cli"

func newVolumeAttach(c *cli) *cobra.Command {
	var holder string
	cmd := &cobra.Command{
		Use:   "attach NAME [--holder WHO]",
		Short: "mount a volume on this node and print where",
		Long: `Mount a volume on this node and print where. It stays mounted until each holder
has detached it as often as it was attached. Docker attaches by itself.`,
		Example:           "  ls \"$(ballast volume attach db)\"\n  ballast volume detach db",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := ask(cmd.Context(), doLimit, c.agent().volumes.Attach, &ballastv1.AttachRequest{Name: args[0], Holder: holder})
			if err != nil {
				return c.explainName(cmd.Context(), args[0], err)
			}
			_, err = fmt.Fprintln(c.stdout, res.GetMountpoint())
			return err
		},
	}
	holderFlag(cmd, &holder)
	return cmd
}

func newVolumeDetach(c *cli) *cobra.Command {
	var holder string
	cmd := &cobra.Command{
		Use:               "detach NAME [--holder WHO]",
		Short:             "end a hold on a volume; the last one unmounts it",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := ask(cmd.Context(), doLimit, c.agent().volumes.Detach, &ballastv1.DetachRequest{Name: args[0], Holder: holder})
			if err != nil {
				return c.explainName(cmd.Context(), args[0], err)
			}
			return nil
		},
	}
	holderFlag(cmd, &holder)
	return cmd
}

func holderFlag(cmd *cobra.Command, holder *string) {
	cmd.Flags().StringVar(holder, "holder", cliHolder, "hold the volume in the name of `WHO`")
}
