package archive

import (
	"fmt"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// GapError reports that the archive does not have all that a point needs (H1).
// Nothing was restored.
type GapError struct {
	Volume      ballast.VolumeID
	Name        string
	First, Last ballast.LSN // the records that are missing; First > Last: something else is
	Reason      error       // what else; may be nil
	Good        *tail.Point // the newest point before them that is whole; nil: there is none
	Next        *tail.Point // the first one behind them; nil: there is none
}

// Error says what is missing, which points are whole, and what to ask for instead.
func (e *GapError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "volume %q cannot be restored to that point: ", e.Name)
	switch {
	case e.Reason != nil:
		fmt.Fprintf(&b, "%v", e.Reason)
	case e.First == e.Last:
		fmt.Fprintf(&b, "record %d is missing in the archive", e.First)
	default:
		fmt.Fprintf(&b, "records %d to %d are missing in the archive", e.First, e.Last)
	}
	if e.Good == nil {
		b.WriteString("; no point before is whole")
	} else {
		fmt.Fprintf(&b, "; the newest good point before is %s", Moment(e.Good.Time))
	}
	if e.Next != nil {
		fmt.Fprintf(&b, ", the next one behind is %s", Moment(e.Next.Time))
	}
	if best := e.best(); best != nil {
		fmt.Fprintf(&b, "; to have it, type --at %s", Moment(best.Time))
	}
	return b.String()
}

// Unwrap returns the reason, which may be nil.
func (e *GapError) Unwrap() error { return e.Reason }

func (e *GapError) best() *tail.Point {
	if e.Good != nil {
		return e.Good
	}
	return e.Next
}

// Moment writes a time so that it finds exactly its point again.
func Moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// gap returns the error of a point that is not whole, or that records are missing
// behind.
func (h *History) gap(i int, first, last ballast.LSN, reason error) error {
	e := &GapError{Volume: h.Volume, Name: h.Name, First: first, Last: last, Reason: reason}
	if m := h.newestWhole(i); m != nil {
		e.Good = &m.point
	}
	for _, m := range h.marks[i+1:] {
		if m.whole {
			e.Next = &m.point
			break
		}
	}
	return e
}
