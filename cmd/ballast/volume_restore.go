package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// restoration is what the options of restore ask for.
type restoration struct {
	at, snapshot, as             string
	inPlace, dryRun, yes, asJSON bool
}

func newVolumeRestore(c *cli) *cobra.Command {
	var r restoration
	cmd := &cobra.Command{
		Use:   "restore NAME [--at MOMENT | --snapshot ID] [--as NEW | --in-place]",
		Short: "bring back a removed volume, or a volume as it was at a moment",
		Long: `Bring back a removed volume out of the trash, or any volume as it was at a
moment out of the archive.

With NAME alone, or --as, it takes a removed volume out of the trash, with
everything that was on it. Where several volumes of that name were removed, NAME
is its ID.

With --at or --snapshot it restores a volume to how it was then, as another
volume; NAME itself is not touched and can be in use. Without --as the new
volume is named after the moment, as db-20261121-104206. It can be used at once
and fills in behind.

With --in-place what is restored takes the place of NAME, which nobody may use;
its present state goes to the trash. Without --at and --snapshot that is the
newest state in the archive.

A MOMENT is 10:42, 10:42:06 (the last time the clock showed that), "5m ago",
"2026-11-20 10:42:06" or RFC 3339. What is restored is the last flush before it:
what an application knew to be on disk then. "ballast volume history" shows what
there is.`,
		Example: `  ballast volume restore db                          out of the trash
  ballast volume restore db --as db-before           out of the trash, under another name
  ballast volume restore db --at 10:42:06 --as db-1042
  ballast volume restore db --at "5m ago" --in-place --dry-run
  ballast volume restore db --snapshot before-upgrade --in-place`,
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeRestore(&r),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.at == "" && r.snapshot == "" && !r.inPlace {
				return c.restoreTrash(cmd, args[0], r)
			}
			req, err := r.request(args[0], c.now())
			if err != nil {
				return err
			}
			if r.inPlace && !r.dryRun {
				return c.restoreInPlace(cmd, req, r)
			}
			return c.restoreAt(cmd, req, r.asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.at, "at", "", "restore the volume as it was at `MOMENT`, out of the archive")
	f.StringVar(&r.snapshot, "snapshot", "", "restore the snapshot with this `ID` or tag, out of the archive")
	f.StringVar(&r.as, "as", "", "restore it under the name `NEW`")
	f.BoolVar(&r.inPlace, "in-place", false, "take the place of the volume; its present state goes to the trash")
	f.BoolVar(&r.dryRun, "dry-run", false, "say what would happen and change nothing")
	f.BoolVarP(&r.yes, "yes", "y", false, "do not ask before restoring in place")
	jsonFlag(cmd, &r.asJSON)
	complete(cmd, "at", []string{"now", "5m ago", "1h ago"})
	if err := cmd.RegisterFlagCompletionFunc("snapshot", c.completeSnapshots); err != nil {
		panic(err) // the option does not exist: a mistake in this program
	}
	return cmd
}

// request is what the agent is asked for, or what is wrong with the options.
func (r restoration) request(name string, now time.Time) (*ballastv1.RestoreAtRequest, error) {
	req := &ballastv1.RestoreAtRequest{Name: name, Snapshot: r.snapshot, As: r.as, InPlace: r.inPlace, DryRun: r.dryRun}
	switch {
	case r.at != "" && r.snapshot != "":
		return nil, usagef("--at and --snapshot both say what to restore: give one of them")
	case r.as != "" && r.inPlace:
		return nil, usagef("--as makes another volume, --in-place replaces this one: give one of them")
	case r.inPlace && r.asJSON && !r.yes && !r.dryRun:
		return nil, usagef("with --json nobody is asked: add --yes to restore in place")
	}
	if r.at != "" {
		at, err := ballast.ParseMoment(r.at, now)
		if err != nil {
			return nil, usagef("--at: %w", err)
		}
		req.At = timestamppb.New(at)
		if !r.inPlace && r.as == "" {
			req.As = name + "-" + at.In(now.Location()).Format("20060102-150405")
		}
	} else if !r.inPlace && r.as == "" {
		req.As = name + "-" + r.snapshot[:min(len(r.snapshot), 32)]
	}
	return req, nil
}

// restoreTrash takes a volume out of the trash, or says that it would.
func (c *cli) restoreTrash(cmd *cobra.Command, name string, r restoration) error {
	if r.dryRun {
		return c.planRestoreTrash(cmd, name, r)
	}
	res, err := ask(cmd.Context(), doLimit, c.agent().volumes.Restore, &ballastv1.RestoreRequest{Name: name, As: r.as})
	if err != nil {
		return c.explainTrash(cmd.Context(), name, err)
	}
	v := res.GetVolume()
	if r.asJSON {
		return writeJSON(c.stdout, toVolumeJSON(v))
	}
	_, err = fmt.Fprintf(c.stdout, "%s is back (%s, %s used)\n", v.GetName(), size(v.GetSizeBytes()), size(v.GetUsedBytes()))
	return err
}

func (c *cli) planRestoreTrash(cmd *cobra.Command, name string, r restoration) error {
	v := c.inTrash(cmd.Context(), name)
	switch {
	case v == nil:
		return c.explainTrash(cmd.Context(), name, errNoSuch)
	case r.asJSON:
		return writeJSON(c.stdout, toVolumeJSON(v))
	}
	_, err := fmt.Fprintf(c.stdout, "would take %s (%s, %s used, removed %s) out of the trash as %s\n", v.GetName(),
		size(v.GetSizeBytes()), size(v.GetUsedBytes()), ago(c.now(), v.GetRemovedAt().AsTime()), or(r.as, v.GetName()))
	return err
}

// completeRestore completes the names of removed volumes or, once it is clear that
// the archive is meant, of those that are there.
func (c *cli) completeRestore(r *restoration) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		fromArchive := r.at != "" || r.snapshot != "" || r.inPlace
		return c.completeVolumes(1, !fromArchive)(cmd, args, word)
	}
}

// completeSnapshots completes the ids and tags of a volume's snapshots, the newest
// first.
func (c *cli) completeSnapshots(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if len(args) == 0 {
		return nil, directive
	}
	h, err := ask(cmd.Context(), completeLimit, c.agent().volumes.History, &ballastv1.HistoryRequest{Name: args[0]})
	if err != nil {
		return nil, directive
	}
	var words []string
	for _, s := range slices.Backward(h.GetSnapshots()) {
		for _, word := range append([]string{shortID(s.GetId())}, s.GetTags()...) {
			words = append(words, word+"\t"+c.clock(s.GetPoint().GetTime()))
		}
	}
	return words, directive
}
