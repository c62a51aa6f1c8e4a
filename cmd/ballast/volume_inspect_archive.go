package main

import (
	"fmt"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// historyRows say how far a volume's history is in the archive.
func (c *cli) historyRows(a *ballastv1.ArchiveState) [][]string {
	if a == nil {
		return nil
	}
	rows := [][]string{
		{"archived", fmt.Sprintf("until %s, %s waits", c.clockAgo(a.GetArchivedUntil()), size(a.GetQueuedBytes()))},
		{"snapshot", fmt.Sprintf("%s, %s of log archived since", c.clockAgo(a.GetLastSnapshot()), size(a.GetTailBytes()))},
	}
	if !isSet(a.GetArchivedUntil()) {
		rows[0][1] = fmt.Sprintf("nothing yet, %s waits", size(a.GetQueuedBytes()))
	}
	if !isSet(a.GetLastSnapshot()) {
		rows[1][1] = "none yet"
	}
	if a.GetSnapshotting() {
		rows[1][1] += "; one is being taken"
	}
	if isSet(a.GetBehindSince()) {
		rows = append(rows, []string{"", fmt.Sprintf("not archived since %s: %s", c.clockAgo(a.GetBehindSince()), or(a.GetError(), "nobody knows why"))})
	}
	for _, gap := range a.GetGaps() {
		until := "now"
		if isSet(gap.GetUntil()) {
			until = c.clock(gap.GetUntil())
		}
		rows = append(rows, []string{"", fmt.Sprintf("cannot be restored to a moment from %s to %s", c.clock(gap.GetFrom()), until)})
	}
	return rows
}

// hydrationRows say how much of a restored volume is here, and when all will be.
func (c *cli) hydrationRows(h *ballastv1.Hydration) [][]string {
	if h == nil || h.GetTotalBytes() == 0 {
		return nil
	}
	missing, rate := min(h.GetMissingBytes(), h.GetTotalBytes()), h.GetBytesPerSecond()
	here := fmt.Sprintf("%d%% is here, %s still come", 100*(h.GetTotalBytes()-missing)/h.GetTotalBytes(), size(missing))
	if rate > 0 {
		here += fmt.Sprintf(" at %s/s, %s left", size(rate), span(wait(missing, rate)))
	}
	rows := [][]string{{"fills in", here}}
	if h.GetError() != "" {
		rows = append(rows, []string{"", fmt.Sprintf("nothing arrives since %s: %s; what is here is served", c.clockAgo(h.GetFailingSince()), h.GetError())})
	}
	return rows
}
