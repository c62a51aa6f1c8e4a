package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeRm(c *cli) *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:     "rm NAME... [--dry-run]",
		Aliases: []string{"remove"},
		Short:   "move volumes that nobody uses to the trash",
		Long: `Move volumes that nobody uses to the trash. They keep their disk space there,
and "ballast volume restore" gets them back until the trash gives them up.`,
		Example:           "  ballast volume rm db\n  ballast volume rm --dry-run db",
		Args:              oneOrMore("NAME"),
		ValidArgsFunction: c.completeVolumes(1<<10, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			removed := removedJSON{Removed: []removedVolumeJSON{}, DryRun: dryRun}
			err := c.each(cmd.Context(), args, func(name string) error {
				if dryRun {
					return c.planRemove(cmd, name, &removed, asJSON)
				}
				return c.remove(cmd, name, &removed, asJSON)
			})
			if asJSON {
				return firstError(err, writeJSON(c.stdout, removed))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would happen and change nothing")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// remove removes one volume, and tells it or adds it to what is told at the end.
func (c *cli) remove(cmd *cobra.Command, name string, removed *removedJSON, asJSON bool) error {
	res, err := ask(cmd.Context(), doLimit, c.agent().volumes.Remove, &ballastv1.RemoveRequest{Name: name})
	switch {
	case isInUse(err):
		explained := explain(err)
		explained.hint = fmt.Sprintf("see who holds it with %q", "ballast volume inspect "+name)
		return explained
	case err != nil:
		return c.explainName(cmd.Context(), name, err)
	}
	removed.Removed = append(removed.Removed, removedVolumeJSON{name, toTime(res.GetKeptUntil())})
	if asJSON {
		return nil
	}
	until := "until the trash is emptied"
	if res.GetKeptUntil() != nil {
		at := res.GetKeptUntil().AsTime()
		until = fmt.Sprintf("until %s (%s)", at.Format(time.RFC1123), ago(c.now(), at))
	}
	_, err = fmt.Fprintf(c.stdout, "%s is in the trash, %s\nget it back with: ballast volume restore %s\n", name, until, name)
	return err
}

func (c *cli) planRemove(cmd *cobra.Command, name string, removed *removedJSON, asJSON bool) error {
	res, err := ask(cmd.Context(), askLimit, c.agent().volumes.Inspect, &ballastv1.InspectRequest{Name: name})
	if err != nil {
		return c.explainName(cmd.Context(), name, err)
	}
	v := res.GetVolume()
	if len(v.GetHolders()) > 0 {
		return &failure{exitRefused, fmt.Errorf("volume %q would not be removed: it is in use by %s", name, strings.Join(v.GetHolders(), ", ")), ""}
	}
	removed.Removed = append(removed.Removed, removedVolumeJSON{Name: name})
	if asJSON {
		return nil
	}
	_, err = fmt.Fprintf(c.stdout, "would move %s (%s, %s used, %s) to the trash\n", name, size(v.GetSizeBytes()), size(v.GetUsedBytes()), v.GetState())
	return err
}

type removedJSON struct {
	Removed []removedVolumeJSON `json:"removed"`
	DryRun  bool                `json:"dry_run"` // nothing was removed
}

type removedVolumeJSON struct {
	Name      string     `json:"name"`
	KeptUntil *time.Time `json:"kept_until"` // when the trash gives it up
}
