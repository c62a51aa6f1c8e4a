package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeInspect(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "inspect NAME...",
		Short:             "show everything that is known of a volume",
		Example:           "  ballast volume inspect db\n  ballast volume inspect db --json | jq '.volumes[0].engine.log_bytes'",
		Args:              oneOrMore("NAME"),
		ValidArgsFunction: c.completeVolumes(1<<10, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := c.inspect(cmd, args)
			if asJSON {
				return firstError(err, writeJSON(c.stdout, listJSON{volumesJSON(found)}))
			}
			for i, v := range found {
				if i > 0 {
					fmt.Fprintln(c.stdout)
				}
				if err := c.printVolume(c.stdout, v); err != nil {
					return err
				}
			}
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// inspect returns the named volumes that exist, and the first error.
func (c *cli) inspect(cmd *cobra.Command, names []string) ([]*ballastv1.Volume, error) {
	var found []*ballastv1.Volume
	err := c.each(cmd.Context(), names, func(name string) error {
		res, err := ask(cmd.Context(), askLimit, c.agent().volumes.Inspect, &ballastv1.InspectRequest{Name: name})
		if err != nil {
			return c.explainName(cmd.Context(), name, err)
		}
		found = append(found, res.GetVolume())
		return nil
	})
	return found, err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) printVolume(w io.Writer, v *ballastv1.Volume) error {
	rows := [][]string{
		{"name", v.GetName()},
		{"id", v.GetId()},
		{"size", fmt.Sprintf("%s, %s used on %s's disk", size(v.GetSizeBytes()), size(v.GetUsedBytes()), or(v.GetPrimary(), "this node"))},
		{"filesystem", fmt.Sprintf("%s, root folder %d:%d %04o", v.GetFs(), v.GetUid(), v.GetGid(), v.GetMode())},
		{"class", v.GetClass()},
		{"created", or(ago(c.now(), v.GetCreatedAt().AsTime()), "-")},
		{"state", v.GetState()},
		{"epoch", fmt.Sprint(v.GetEpoch())},
	}
	for _, optional := range [][]string{
		{"removed", ago(c.now(), v.GetRemovedAt().AsTime())},
		{"labels", labels(v.GetLabels())},
		{"primary", v.GetPrimary()},
		{"mountpoint", v.GetMountpoint()},
		{"holders", strings.Join(v.GetHolders(), ", ")},
		{"origin", v.GetOrigin()},
	} {
		if optional[1] != "" {
			rows = append(rows, optional)
		}
	}
	rows = append(rows, copyRows(v)...)
	rows = append(rows, c.historyRows(v.GetArchive())...)
	rows = append(rows, c.hydrationRows(v.GetHydration())...)
	err := firstError(table(w, append(rows, engineRows(v.GetEngine())...)), c.printCopies(w, v))
	c.printConditions(w, v.GetConditions())
	return err
}

func engineRows(e *ballastv1.EngineStatus) [][]string {
	if e == nil {
		return nil
	}
	if e.GetPid() == 0 { // attached this moment
		return [][]string{{"engine", fmt.Sprintf("device %s, nothing heard of it yet", or(e.GetDevice(), "-"))}}
	}
	rows := [][]string{
		{"engine", fmt.Sprintf("pid %d, device %s", e.GetPid(), or(e.GetDevice(), "-"))},
		{"records", fmt.Sprintf("last %d, durable %d, committed %d, applied %d",
			e.GetLastLsn(), e.GetDurableLsn(), e.GetCommittedLsn(), e.GetAppliedLsn())},
		{"log", fmt.Sprintf("%s of %s waits to be applied", size(e.GetLogBytes()), size(e.GetLogCapacityBytes()))},
		{"since attach", fmt.Sprintf("%s (%s), %s (%s), flushed %d times",
			count(e.GetReads(), "read"), size(e.GetReadBytes()), count(e.GetWrites(), "write"), size(e.GetWrittenBytes()), e.GetFlushes())},
	}
	if e.GetError() != "" {
		rows = append(rows, []string{"error", e.GetError()})
	}
	return rows
}

func labels(all map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		pairs = append(pairs, k+"="+all[k])
	}
	return strings.Join(pairs, ", ")
}

// printConditions tells what needs attention and what to do about it.
func (c *cli) printConditions(w io.Writer, conditions []*ballastv1.Condition) {
	for _, condition := range conditions {
		fmt.Fprintf(w, "\n! %s\n", condition.GetTitle())
		if since := ago(c.now(), condition.GetSince().AsTime()); since != "" {
			fmt.Fprintf(w, "  since:   %s (%s)\n", since, condition.GetCode())
		}
		if condition.GetHint() != "" {
			fmt.Fprintf(w, "  to do:   %s\n", condition.GetHint())
		}
	}
}
