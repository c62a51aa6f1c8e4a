package volume

import (
	"fmt"
	"slices"

	"github.com/ballast-io/ballast"
)

// Lineage says under which epoch each record was written, in the order of LSNs. A
// record of another epoch than the lineage has for its LSN was cut off by a later
// opening: it may still stand in a segment, and is void. What came before its first
// reign is not known.
type Lineage []Reign

// Reign is the time of one epoch: from its first LSN to that of the next.
type Reign struct {
	Epoch ballast.Epoch `json:"epoch"`
	From  ballast.LSN   `json:"from"`
}

// keptReigns is how many reigns a lineage keeps for the sake of copies that were
// away, whatever its own log needs.
const keptReigns = 64

// Common returns the last record that two copies both have: one whose log ends at
// last and another, of the lineage other, whose log ends at otherLast. It reports
// false when that is not known, because too much of a lineage was forgotten.
//
// Two records of the same epoch and LSN are the same, and so is all before them (R8).
func (l Lineage) Common(last ballast.LSN, other Lineage, otherLast ballast.LSN) (ballast.LSN, bool) {
	at := min(last, otherLast)
	for at > 0 {
		mine, theirs := l.reignAt(at), other.reignAt(at)
		switch {
		case mine.Epoch == 0 || theirs.Epoch == 0:
			return 0, false
		case mine.Epoch == theirs.Epoch:
			return at, true
		}
		at = max(mine.From, theirs.From) - 1
	}
	return 0, true
}

// Next returns the lineage with a new epoch that begins at the record from. Reigns
// that would have no record any more are left out.
func (l Lineage) Next(epoch ballast.Epoch, from ballast.LSN) Lineage {
	return append(l.upTo(from-1), Reign{epoch, from})
}

// upTo returns the lineage of the records up to lsn.
func (l Lineage) upTo(lsn ballast.LSN) Lineage {
	n := 0
	for n < len(l) && l[n].From <= lsn {
		n++
	}
	return slices.Clone(l[:n])
}

// reignAt returns the reign that record lsn was written in; the zero one if that is
// not known.
func (l Lineage) reignAt(lsn ballast.LSN) (at Reign) {
	for _, r := range l {
		if r.From <= lsn {
			at = r
		}
	}
	return at
}

// epochAt returns the epoch that record lsn was written under, 0 if none.
func (l Lineage) epochAt(lsn ballast.LSN) ballast.Epoch { return l.reignAt(lsn).Epoch }

// Epoch is the highest one, 0 if there is none.
func (l Lineage) Epoch() ballast.Epoch { return l.Latest().Epoch }

// Beginning is where a writer began: copies that are the same up to there have the same
// one, and others have not (R8). To have the reign alone in common is not enough: of two
// copies that end at the same record, one may have it from an epoch that the other knows
// nothing of.
type Beginning struct {
	Reign
	After ballast.Epoch `json:"after"` // that the record before it was written under; 0: none
}

// String says it in an error.
func (b Beginning) String() string {
	return fmt.Sprintf("%v from record %d on, after %v", b.Epoch, b.From, b.After)
}

// Beginning is that of the highest epoch; the zero one if there is none.
func (l Lineage) Beginning() Beginning {
	at := l.Latest()
	return Beginning{at, l.epochAt(at.From - 1)}
}

// Latest is the reign of the highest epoch; the zero one if there is none.
func (l Lineage) Latest() Reign {
	if len(l) == 0 {
		return Reign{}
	}
	return l[len(l)-1]
}

// endOfReign returns the last record of the epoch that wrote record lsn; no
// record is behind last.
func (l Lineage) endOfReign(lsn, last ballast.LSN) ballast.LSN {
	for _, r := range l {
		if r.From > lsn {
			return min(last, r.From-1)
		}
	}
	return last
}

// trim returns the lineage without what neither a record from oldest on needs, nor a
// copy that was away for no more than some reigns.
func (l Lineage) trim(oldest ballast.LSN) Lineage {
	for len(l) > keptReigns && l[1].From <= oldest {
		l = l[1:]
	}
	return l
}

// valid reports whether epochs and LSNs only grow.
func (l Lineage) valid() bool {
	for i, r := range l {
		if r.Epoch == 0 || r.From == 0 || i > 0 && (r.Epoch <= l[i-1].Epoch || r.From <= l[i-1].From) {
			return false
		}
	}
	return true
}
