package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeLs(c *cli) *cobra.Command {
	var trash, asJSON, quiet bool
	cmd := &cobra.Command{
		Use:     "ls [--trash]",
		Aliases: []string{"list"},
		Short:   "list the volumes",
		Long: `List the volumes. PRIMARY is the node that holds a volume, USED what its files
take on that node's disk, else on this one's; COPIES how many are in sync, of
how many there shall be. HEALTH names what needs attention, "ballast volume
inspect" explains it.`,
		Example:           "  ballast volume ls\n  ballast volume ls --trash\n  ballast volume ls --json | jq -r '.volumes[] | select(.state == \"attached\") | .name'",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := ask(cmd.Context(), askLimit, c.agent().volumes.List, &ballastv1.ListRequest{Trash: trash})
			if err != nil {
				return err
			}
			switch volumes := res.GetVolumes(); {
			case asJSON:
				return writeJSON(c.stdout, listJSON{volumesJSON(volumes)})
			case quiet:
				return c.printNames(volumes)
			case trash:
				return table(c.stdout, c.trashRows(volumes))
			default:
				return table(c.stdout, c.volumeRows(volumes))
			}
		},
	}
	cmd.Flags().BoolVar(&trash, "trash", false, "list the removed volumes that can be restored instead")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print names only")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) printNames(volumes []*ballastv1.Volume) error {
	for _, v := range volumes {
		if _, err := fmt.Fprintln(c.stdout, v.GetName()); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) volumeRows(volumes []*ballastv1.Volume) [][]string {
	rows := [][]string{{"NAME", "SIZE", "USED", "FS", "CLASS", "STATE", "PRIMARY", "COPIES", "CREATED", "HEALTH"}}
	for _, v := range volumes {
		rows = append(rows, []string{
			v.GetName(), size(v.GetSizeBytes()), size(v.GetUsedBytes()), v.GetFs(), v.GetClass(),
			v.GetState(), or(v.GetPrimary(), "-"), copiesColumn(v), or(ago(c.now(), v.GetCreatedAt().AsTime()), "-"), health(v),
		})
	}
	return rows
}

// health is a volume's conditions in a word each.
func health(v *ballastv1.Volume) string {
	var codes []string
	for _, condition := range v.GetConditions() {
		codes = append(codes, condition.GetCode())
	}
	return or(strings.Join(codes, ","), "ok")
}

func (c *cli) trashRows(volumes []*ballastv1.Volume) [][]string {
	rows := [][]string{{"NAME", "ID", "SIZE", "USED", "CLASS", "REMOVED"}}
	for _, v := range volumes {
		rows = append(rows, []string{
			v.GetName(), v.GetId(), size(v.GetSizeBytes()), size(v.GetUsedBytes()), v.GetClass(),
			or(ago(c.now(), v.GetRemovedAt().AsTime()), "-"),
		})
	}
	return rows
}
