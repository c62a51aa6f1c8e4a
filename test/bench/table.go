package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print shows the table: the median, and the ratio to the plain directory.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\nMedians of %d rounds, and ratios to the plain directory (above 1 is better). Kernel %s, %d CPUs.\n\n", r.Rounds, r.Kernel, r.CPUs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush() // a screen that is gone is no loss
	fmt.Fprintln(t, "what\tunit\tplain\tballast\t\tto reach\t\tgluster, 1 brick\t\tgluster, 2 bricks\t")
	for _, res := range r.Results {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", res.Title, res.Unit, res.value(plainName), res.cells(ballastName),
			res.verdict(), res.cells(peerOne), res.cells(peerTwo))
	}
	for _, m := range r.Memory {
		m.print(t)
	}
	if r.Quick {
		fmt.Fprintln(t, "\nThis was -quick: the figures mean nothing.")
	}
	for _, note := range r.Notes {
		fmt.Fprintln(t, "\n"+note)
	}
}

func (m memoryResult) print(w io.Writer) {
	for _, when := range []struct {
		title string
		is    footprint
		goal  float64
	}{
		{"idle", m.Idle, m.IdleGoal}, {"greatest under load", m.Load, m.LoadGoal}, {"idle after all", m.Again, 0},
	} {
		goal, met := "", ""
		if when.goal > 0 {
			goal, met = fmt.Sprintf("≤ %.0f", when.goal), mark(when.is.RSS <= when.goal)
		}
		fmt.Fprintf(w, "memory of the %s, %s: RSS (PSS)\tMiB\t\t%.1f\t(%.1f)\t%s\t%s\t\t\t\t\n", m.Program, when.title, when.is.RSS, when.is.PSS, goal, met)
	}
}

func (r *result) value(place string) string {
	if s := r.Places[place]; s != nil {
		return number(s.Median)
	}
	return "–"
}

// cells are the value and the ratio of a place.
func (r *result) cells(place string) string {
	s := r.Places[place]
	if s == nil || s.Ratio == 0 {
		return r.value(place) + "\t"
	}
	return fmt.Sprintf("%s\t%.2f", number(s.Median), s.Ratio)
}

// verdict is the goal and whether it is reached.
func (r *result) verdict() string {
	s := r.Places[ballastName]
	switch {
	case r.Goal == 0 || s == nil:
		return "\t"
	case r.isAbsolute():
		return fmt.Sprintf("≤ %.0f\t%s", r.Goal, mark(s.Median <= r.Goal))
	case s.Ratio == 0:
		return fmt.Sprintf("≥ %.2f\t", r.Goal)
	}
	return fmt.Sprintf("≥ %.2f\t%s", r.Goal, mark(s.Ratio >= r.Goal))
}

// isAbsolute says that the goal is a value, not a ratio.
func (r *result) isAbsolute() bool { return r.Goal > 2 }

func mark(reached bool) string {
	if reached {
		return "yes"
	}
	return "no"
}
