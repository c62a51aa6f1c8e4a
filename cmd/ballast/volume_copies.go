package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// inSync names the nodes with an in-sync copy of a volume, but for one.
func inSync(v *ballastv1.Volume, except string) string {
	var names []string
	for _, c := range v.GetCopies() {
		if c.GetInSync() && c.GetNode() != except {
			names = append(names, c.GetNode())
		}
	}
	return strings.Join(names, ", ")
}

// copiesColumn is how many copies are in sync, of how many there shall be.
func copiesColumn(v *ballastv1.Volume) string {
	if len(v.GetCopies()) == 0 { // it was never in use
		return "-"
	}
	n := 0
	for _, c := range v.GetCopies() {
		if c.GetInSync() && c.GetState() != "away" {
			n++
		}
	}
	return fmt.Sprintf("%d/%d", n, max(1, v.GetReplicas()))
}

// copyRows are the lines of inspect on a volume's copies; none where there is one only.
func copyRows(v *ballastv1.Volume) [][]string {
	if len(v.GetCopies()) < 2 && v.GetReplicas() < 2 {
		return nil
	}
	shall := fmt.Sprintf("there shall be %d", max(1, v.GetReplicas()))
	if v.GetMinCopies() > 1 {
		shall += fmt.Sprintf(", and writes wait with fewer than %d", v.GetMinCopies())
	}
	none := "none"
	if v.GetEpoch() == 0 {
		none = "none yet, it was never attached"
	}
	return [][]string{{"in sync", or(inSync(v, ""), none) + "; " + shall}}
}

// printCopies shows where each copy of a volume stands, and which failovers were forced.
func (c *cli) printCopies(w io.Writer, v *ballastv1.Volume) error {
	if copyRows(v) != nil && len(v.GetCopies()) > 0 {
		rows := [][]string{{"COPY ON", "STATE", "IN SYNC", "RECORD", "BEHIND", "SINCE", ""}}
		for _, one := range v.GetCopies() {
			rows = append(rows, c.copyRow(one))
		}
		fmt.Fprintln(w)
		if err := table(w, rows); err != nil {
			return err
		}
	}
	for _, f := range v.GetForced() {
		fmt.Fprintf(w, "\nforced %s by %s to go on from the copy on %s at record %d, under epoch %d; given up: %s\n",
			c.clockAgo(f.GetAt()), or(f.GetBy(), "-"), f.GetTo(), f.GetLsn(), f.GetEpoch(), or(f.GetFrom(), "none"))
		if f.GetReason() != "" {
			fmt.Fprintf(w, "  it lost %s\n", f.GetReason())
		}
	}
	return nil
}

func (c *cli) copyRow(one *ballastv1.Copy) []string {
	record, behind, note := "-", "-", one.GetError()
	if one.GetDurableLsn() > 0 {
		record, behind = fmt.Sprint(one.GetDurableLsn()), size(one.GetLagBytes())
	}
	if p := one.GetProgress(); p.GetTotalBytes() > 0 {
		done := fmt.Sprintf("%d%% of %s", 100*min(p.GetDoneBytes(), p.GetTotalBytes())/p.GetTotalBytes(), size(p.GetTotalBytes()))
		note = strings.TrimSuffix(done+", "+note, ", ")
	}
	return []string{one.GetNode(), one.GetState(), yesNo(one.GetInSync()), record, behind, or(c.agoOf(one.GetSince()), "-"), note}
}
