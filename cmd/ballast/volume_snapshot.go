package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeSnapshot(c *cli) *cobra.Command {
	var tags []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "snapshot NAME [--tag TAG]...",
		Short: "put a volume as it is now into the archive, under a tag",
		Long: `Put a volume as it is now into the archive. It can be in use meanwhile: what
arrives is the volume at one moment, as after a power cut. Only what changed
since the last snapshot is sent.

The archive takes snapshots by itself, and any second since can be restored
anyway; one of your own is for a moment that shall have a name.`,
		Example:           "  ballast volume snapshot db --tag before-upgrade\n  ballast volume restore db --snapshot before-upgrade --as db-before",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.snapshot(cmd, args[0], tags, asJSON)
		},
	}
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "call the snapshot `TAG`, too")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (c *cli) snapshot(cmd *cobra.Command, name string, tags []string, asJSON bool) error {
	var taken *ballastv1.BaseSnapshot
	err := follow(cmd.Context(), c, "no snapshot was taken; the same command again sends only what is not in the archive yet",
		c.agent().volumes.Snapshot, &ballastv1.SnapshotRequest{Name: name, Tags: tags},
		func(m *ballastv1.SnapshotResponse, _ io.Writer) {
			if m.GetSnapshot() != nil {
				taken = m.GetSnapshot()
			}
		})
	switch {
	case err != nil:
		return c.explainHistory(cmd.Context(), name, err)
	case taken == nil:
		return errUnsaid
	case asJSON:
		return writeJSON(c.stdout, toSnapshotJSON(taken))
	}
	_, err = fmt.Fprintf(c.stdout, "%s  %s as it was at %s, %s added%s\n",
		shortID(taken.GetId()), name, c.clock(taken.GetPoint().GetTime()), size(taken.GetAddedBytes()), inBrackets(taken.GetTags()))
	return err
}

// inBrackets are tags behind something they belong to.
func inBrackets(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return " (" + strings.Join(tags, ", ") + ")"
}
