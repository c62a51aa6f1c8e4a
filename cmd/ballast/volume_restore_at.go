package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ballast-io/ballast/internal/api/ballastv1"
)

// restoreAt restores a volume out of the archive, or prints the plan in a dry run.
func (c *cli) restoreAt(cmd *cobra.Command, req *ballastv1.RestoreAtRequest, asJSON bool) error {
	res, err := ask(cmd.Context(), doLimit, c.agent().volumes.RestoreAt, req)
	switch {
	case err != nil:
		return c.explainHistory(cmd.Context(), req.GetName(), err)
	case asJSON:
		return writeJSON(c.stdout, toRestoredJSON(res))
	case req.GetDryRun():
		return c.printPlan(c.stdout, req, res)
	}
	return c.printRestored(req, res)
}

// restoreInPlace shows the plan, asks, and carries out that plan: a newer point
// that appears meanwhile is not what was agreed to.
func (c *cli) restoreInPlace(cmd *cobra.Command, req *ballastv1.RestoreAtRequest, r restoration) error {
	req.DryRun = true
	plan, err := ask(cmd.Context(), doLimit, c.agent().volumes.RestoreAt, req)
	if err != nil {
		return c.explainHistory(cmd.Context(), req.GetName(), err)
	}
	if !r.asJSON {
		if err := c.printPlan(c.stdout, req, plan); err != nil {
			return err
		}
	}
	if !r.yes {
		question := fmt.Sprintf("Restore %s in place? What is there now goes to the trash.", req.GetName())
		if err := c.confirm(cmd.Context(), question); err != nil {
			return err
		}
	}
	req.DryRun = false
	if req.GetSnapshot() == "" && !isSet(req.GetAt()) {
		req.At = plan.GetPoint().GetTime()
	}
	return c.restoreAt(cmd, req, r.asJSON)
}

// printPlan says what would be done, and up to which point.
func (c *cli) printPlan(w io.Writer, req *ballastv1.RestoreAtRequest, res *ballastv1.RestoreAtResponse) error {
	place := "as " + req.GetAs()
	if req.GetInPlace() {
		place = "in place"
	}
	_, err := fmt.Fprintf(w, "restore %s to %s, %s:\n", req.GetName(), c.found(res.GetPoint(), req.GetAt()), place)
	for i, step := range res.GetPlan() {
		fmt.Fprintf(w, "  %d. %s\n", i+1, step)
	}
	fmt.Fprintf(w, "up to %s are fetched\n", size(res.GetFetchBytes()))
	return err
}

// printRestored says which point it became, and where to look next.
func (c *cli) printRestored(req *ballastv1.RestoreAtRequest, res *ballastv1.RestoreAtResponse) error {
	name := or(res.GetVolume().GetName(), or(req.GetAs(), req.GetName()))
	what := name + " is"
	if name != req.GetName() {
		what = name + " is " + req.GetName()
	}
	_, err := fmt.Fprintf(c.stdout, "%s restored to %s\n", what, c.found(res.GetPoint(), req.GetAt()))
	if req.GetInPlace() {
		fmt.Fprintln(c.stdout, "what it was before is in the trash: ballast volume ls --trash")
	}
	if res.GetFetchBytes() > 0 {
		fmt.Fprintf(c.stdout, "it can be used now; up to %s fill in behind: ballast volume inspect %s\n", size(res.GetFetchBytes()), name)
	}
	return err
}

type restoredJSON struct {
	Volume     *volumeJSON `json:"volume"` // null in a dry run
	Point      *pointJSON  `json:"point"`
	Plan       []string    `json:"plan"`
	FetchBytes uint64      `json:"fetch_bytes"`
}

func toRestoredJSON(res *ballastv1.RestoreAtResponse) restoredJSON {
	all := restoredJSON{Point: toPointJSON(res.GetPoint()), Plan: append([]string{}, res.GetPlan()...), FetchBytes: res.GetFetchBytes()}
	if res.GetVolume() != nil {
		v := toVolumeJSON(res.GetVolume())
		all.Volume = &v
	}
	return all
}
