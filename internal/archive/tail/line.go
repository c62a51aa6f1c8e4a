package tail

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/ballast-io/ballast"
)

// Line is the history of a volume as its tail has it: the epochs that were followed, and what
// is there of them. See [Build].
type Line struct {
	Volume   ballast.VolumeID
	Open     *Open         // the newest that can be read; nil: none
	Removed  *Removed      // the volume was removed, and not opened since
	Epoch    ballast.Epoch // the highest that was opened; 0: none
	Segments []Segment     // from the oldest on; no two overlap
	Gaps     []Gap         // between or before segments, in order
	Problems []Problem     // what is missing and should not be, in order
	Notes    []Note        // objects that are no part of the history; nothing is wrong with that

	path   []span   // from the oldest epoch on; the last one is Epoch's
	parent Position // where the oldest epoch of path continues
	tip    Position
	head   *Head  // of Epoch
	lost   bool   // nothing says where Epoch continues
	all    []Name // every object that was listed
}

// Segment is an object of the history.
type Segment struct {
	Name   string
	Header *Header
	Upto   ballast.LSN // the history leaves it here: groups that end behind this are no part of it
}

// Gap is records that a writer gave up, as it could not ship them for too long. A base
// snapshot at or behind To leads on.
type Gap struct{ After, To ballast.LSN }

// Problem is a part of the history that should be in the store and is not.
type Problem struct {
	Object    string      // what is damaged; what is missing, as far as its name is known
	Why       string      // what is wrong with it
	After, To ballast.LSN // these records are missing: behind After, up to To; To 0: nobody knows
	Newest    *Point      // the newest point of the tail before it; nil: none
}

func (p *Problem) Error() string {
	text := fmt.Sprintf("%s: %s: records behind LSN %d are missing", p.Object, p.Why, p.After)
	if p.To > 0 {
		text = fmt.Sprintf("%s: %s: records %d to %d are missing", p.Object, p.Why, p.After+1, p.To)
	}
	if p.Newest == nil {
		return text + "; the log tail has no point before that"
	}
	return fmt.Sprintf("%s; the newest point before that is %s (LSN %d)", text, p.Newest.Time.Format("2006-01-02T15:04:05Z07:00"), p.Newest.LSN)
}

// Note is an object that is no part of the history, and why.
type Note struct{ Object, Why string }

// span is the part of an epoch that is history.
type span struct {
	reign Reign
	exit  Position // where the next epoch continues; of the last span: the end of numbers
}

// Points returns what the tail can stop at, in the order of the history. Whether one can be
// reached depends on the base snapshot: see [Line.Between].
func (l *Line) Points() []Point {
	var points []Point
	for _, s := range l.Segments {
		for _, g := range s.Groups() {
			if g.IsPoint() {
				points = append(points, Point{g.Time, g.Last, s.Header.Epoch, g.Size})
			}
		}
	}
	return points
}

// Groups returns the groups of the segment that are history.
func (s *Segment) Groups() []Group {
	groups := s.Header.Groups
	return groups[:sort.Search(len(groups), func(i int) bool { return groups[i].Last > s.Upto })]
}

// end is the last record of the segment that is history.
func (s *Segment) end() ballast.LSN {
	groups := s.Groups()
	if len(groups) == 0 {
		return s.Header.First - 1
	}
	return groups[len(groups)-1].Last
}

// Tip returns where the history ends: where its next writer continues.
func (l *Line) Tip() Position { return l.tip }

// Last returns the last record that anything says was shipped: behind the Tip, if that is
// missing.
func (l *Line) Last() ballast.LSN {
	last := l.tip.LSN
	if l.head != nil {
		last = max(last, l.head.Last)
	}
	for _, p := range l.Problems {
		last = max(last, p.To)
	}
	return last
}

// Position returns the place of a record of the history.
func (l *Line) Position(lsn ballast.LSN) Position {
	for _, s := range slices.Backward(l.Segments) {
		if s.Header.First <= lsn && lsn <= s.Upto && lsn <= s.Header.Last {
			return Position{s.Header.Epoch, lsn, s.Header.digest}
		}
	}
	for _, p := range slices.Backward(l.path) {
		if p.reign.Parent.LSN < lsn && lsn <= p.exit.LSN {
			return Position{Epoch: p.reign.Epoch, LSN: lsn}
		}
	}
	return Position{Epoch: l.parent.Epoch, LSN: lsn}
}

// Epochs returns under which epoch each record of the history was written, in the order of LSNs: that
// of each position and of all behind it, up to the next. What is older than the first is not known.
func (l *Line) Epochs() []Position {
	epochs := []Position{l.parent}
	for _, p := range l.path {
		epochs = append(epochs, Position{p.reign.Epoch, p.reign.Parent.LSN + 1, p.reign.Open})
	}
	return epochs
}

// Root returns where the oldest epoch that is left begins: nothing that is known comes before it.
func (l *Line) Root() Position {
	if len(l.path) == 0 {
		return l.parent
	}
	r := l.path[0].reign
	return Position{r.Epoch, r.Parent.LSN, r.Open}
}

// OnPath reports whether a volume that was at lsn in that epoch, a base snapshot, is part
// of the history. What is older than every open that is left, is.
func (l *Line) OnPath(epoch ballast.Epoch, lsn ballast.LSN) bool {
	for _, p := range l.path {
		if p.reign.Epoch == epoch {
			return p.reign.Parent.LSN <= lsn && lsn <= p.exit.LSN
		}
	}
	return len(l.path) > 0 && epoch <= l.parent.Epoch && lsn <= l.parent.LSN
}

// GapError is what stands between a base snapshot and what should be restored.
type GapError struct {
	After, To ballast.LSN // these records are not in the tail: behind After, up to To
	Newest    *Point      // the newest point that can be reached; nil: only the base snapshot itself
}

func (e *GapError) Error() string {
	text := fmt.Sprintf("records %d to %d are not in the archive's log", e.After+1, e.To)
	if e.Newest == nil {
		return text + "; no point behind the base snapshot can be reached"
	}
	return fmt.Sprintf("%s; the newest point that can be reached is %s (LSN %d)", text, e.Newest.Time.Format("2006-01-02T15:04:05Z07:00"), e.Newest.LSN)
}

// Between returns the segments that make the volume at LSN to of the volume at LSN after: of
// them, the groups that end behind after and not behind to, each laid over what was before. It
// does not matter if the first of them begins before after. To must be the end of a
// group; what is not there is a [*GapError].
func (l *Line) Between(after, to ballast.LSN) ([]Segment, error) {
	var need []Segment
	at, newest := after, (*Point)(nil)
	for _, s := range l.Segments {
		if at >= to {
			break
		}
		if s.end() <= at {
			continue
		}
		if s.Header.First > at+1 {
			return nil, &GapError{at, min(to, s.Header.First-1), newest}
		}
		for _, g := range s.Groups() {
			if at < g.Last && g.Last <= to {
				at = g.Last
				if g.IsPoint() {
					newest = &Point{g.Time, g.Last, s.Header.Epoch, g.Size}
				}
			}
		}
		need = append(need, s)
		if s.end() >= to {
			break
		}
	}
	if at < to {
		return nil, &GapError{at, to, newest}
	}
	return need, nil
}

// Obsolete returns the objects that nobody needs who restores the volume at LSN upto or later,
// in the order in which they must be deleted: whatever is left when that is cut
// short is the end of the history, without a hole. The newest segment always stays.
func (l *Line) Obsolete(upto ballast.LSN) []string {
	var gone []Name
	for _, n := range l.all {
		if n.Kind == RemovedKind || n.Kind == LatestKind || n.Kind == Other || !l.isObsolete(n, upto) {
			continue
		}
		gone = append(gone, n)
	}
	slices.SortStableFunc(gone, func(a, b Name) int {
		if a.Epoch != b.Epoch {
			return cmp.Compare(a.Epoch, b.Epoch)
		}
		return cmp.Compare(deletionRank(a), deletionRank(b))
	})
	names := make([]string, len(gone))
	for i, n := range gone {
		names[i] = n.String()
	}
	return names
}

// deletionRank sorts the segments of an epoch by their last record; its head and open come last.
func deletionRank(n Name) uint64 {
	if n.Kind == SegmentKind {
		return uint64(n.Last)
	}
	return math.MaxUint64
}

func (l *Line) isObsolete(n Name, upto ballast.LSN) bool {
	leave, ok := l.exitOf(n.Epoch)
	switch {
	case !ok: // above the path: nobody has judged it
		return false
	case leave.LSN <= upto && n.Epoch < l.Epoch:
		return true
	case n.Kind != SegmentKind || n.Last > upto:
		return false
	}
	return len(l.Segments) == 0 || n.String() != l.Segments[len(l.Segments)-1].Name
}

// exitOf returns where the history leaves an epoch, or has left it when it passed it by.
func (l *Line) exitOf(e ballast.Epoch) (Position, bool) {
	if len(l.path) > 0 && e < l.path[0].reign.Epoch {
		return l.parent, true
	}
	for i, p := range l.path {
		if p.reign.Epoch == e || p.reign.Epoch < e && i+1 < len(l.path) && e < l.path[i+1].reign.Epoch {
			return p.exit, true
		}
	}
	return Position{}, false
}
