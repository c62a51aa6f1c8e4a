package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

func newVolumeHistory(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "show what a volume can be restored to",
		Long: `Show what a volume can be restored to, as a timeline: snapshots, the stretches
of time of which any second can be restored (drawn as a line down the page),
what is missing or damaged, what retention will keep, and what to type.`,
		Example:           "  ballast volume history db\n  ballast volume history db --json | jq -r '.any_second[-1].until'",
		Args:              operands("NAME"),
		ValidArgsFunction: c.completeVolumes(1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := ask(cmd.Context(), doLimit, c.agent().volumes.History, &ballastv1.HistoryRequest{Name: args[0]})
			if err != nil {
				return c.explainHistory(cmd.Context(), args[0], err)
			}
			kept := c.keptSnapshots(cmd.Context(), args[0])
			if asJSON {
				return writeJSON(c.stdout, toHistoryJSON(args[0], h, kept))
			}
			return c.printHistory(args[0], h, kept)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// keptSnapshots is what retention would do now with each snapshot, by its id. An
// agent that cannot say costs a column, not the history.
func (c *cli) keptSnapshots(ctx context.Context, name string) map[string]*ballastv1.RetainStep {
	plan, err := ask(ctx, askLimit, c.agent().volumes.Retain, &ballastv1.RetainRequest{Name: name})
	if err != nil {
		return nil
	}
	kept := map[string]*ballastv1.RetainStep{}
	for _, step := range plan.GetSteps() {
		kept[step.GetWhat()] = step
	}
	return kept
}

func (c *cli) printHistory(name string, h *ballastv1.HistoryResponse, kept map[string]*ballastv1.RetainStep) error {
	if len(h.GetSnapshots()) == 0 {
		if _, err := fmt.Fprintf(c.stdout, "nothing of %s can be restored yet: the first snapshot is not in the archive; \"ballast status\" says why\n", name); err != nil {
			return err
		}
	} else if err := table(c.stdout, c.timeline(h, kept)); err != nil {
		return err
	}
	for _, problem := range h.GetProblems() {
		fmt.Fprintf(c.stdout, "\n! %s\n", problem)
	}
	if h.GetRetention() != "" {
		fmt.Fprintf(c.stdout, "\nkept:     %s\n", h.GetRetention())
	}
	c.printHowToRestore(name, h)
	return nil
}

// printHowToRestore ends a history with commands that can be typed as they stand.
func (c *cli) printHowToRestore(name string, h *ballastv1.HistoryResponse) {
	title := "restore:"
	if n := len(h.GetAnySecond()); n > 0 {
		fmt.Fprintf(c.stdout, "%s  ballast volume restore %s --at %s --as %s-then\n", title, name, c.typed(h.GetAnySecond()[n-1].GetUntil()), name)
		title = "        "
	}
	if n := len(h.GetSnapshots()); n > 0 {
		fmt.Fprintf(c.stdout, "%s  ballast volume restore %s --snapshot %s --as %s-then\n", title, name, shortID(h.GetSnapshots()[n-1].GetId()), name)
	}
}

// mark is one line of a timeline.
type mark struct {
	at    time.Time
	order int // of marks of the same moment
	row   []string
}

// timeline draws snapshots and, beside them, the stretches any second of which can
// be restored.
func (c *cli) timeline(h *ballastv1.HistoryResponse, kept map[string]*ballastv1.RetainStep) [][]string {
	var marks []mark
	for _, w := range h.GetAnySecond() {
		marks = append(marks,
			mark{w.GetFrom().AsTime(), 0, []string{c.clock(w.GetFrom()), "┌ from here", "", "", "", ""}},
			mark{w.GetUntil().AsTime(), 2, []string{c.clock(w.GetUntil()), "└ to here", "", "", "", ""}})
	}
	for _, s := range h.GetSnapshots() {
		marks = append(marks, mark{s.GetPoint().GetTime().AsTime(), 1, c.snapshotRow(s, h.GetAnySecond(), kept)})
	}
	slices.SortStableFunc(marks, func(a, b mark) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.order, b.order))
	})
	rows := [][]string{{"TIME", "ANY SECOND", "SNAPSHOT", "ADDED", "TAGS", "RETENTION"}}
	for _, m := range marks {
		rows = append(rows, m.row)
	}
	return rows
}

func (c *cli) snapshotRow(s *ballastv1.BaseSnapshot, windows []*ballastv1.Window, kept map[string]*ballastv1.RetainStep) []string {
	at, line := s.GetPoint().GetTime().AsTime(), ""
	for _, w := range windows {
		if !at.Before(w.GetFrom().AsTime()) && !at.After(w.GetUntil().AsTime()) {
			line = "│"
		}
	}
	return []string{
		c.clock(s.GetPoint().GetTime()), line, shortID(s.GetId()), added(s.GetAddedBytes()),
		or(strings.Join(s.GetTags(), ","), "-"), retention(kept[s.GetId()]),
	}
}

// added is how much a snapshot added; the archive does not remember it of each.
func added(bytes uint64) string {
	if bytes == 0 {
		return "-"
	}
	return size(bytes)
}

// retention is what will become of something, in a few words.
func retention(step *ballastv1.RetainStep) string {
	switch {
	case step == nil:
		return "-"
	case step.GetKeep():
		return "keeps it: " + step.GetReason()
	}
	return "goes: " + step.GetReason()
}

type historyJSON struct {
	Name      string         `json:"name"`
	Snapshots []snapshotJSON `json:"snapshots"`
	AnySecond []windowJSON   `json:"any_second"`
	Problems  []string       `json:"problems"`
	Retention string         `json:"retention"`
}

func toHistoryJSON(name string, h *ballastv1.HistoryResponse, kept map[string]*ballastv1.RetainStep) historyJSON {
	all := historyJSON{
		Name: name, Snapshots: []snapshotJSON{}, AnySecond: windowsJSON(h.GetAnySecond()),
		Problems: append([]string{}, h.GetProblems()...), Retention: h.GetRetention(),
	}
	for _, s := range h.GetSnapshots() {
		one := toSnapshotJSON(s)
		if step := kept[s.GetId()]; step != nil {
			keep := step.GetKeep()
			one.Keep, one.Reason = &keep, step.GetReason()
		}
		all.Snapshots = append(all.Snapshots, one)
	}
	return all
}
