package tail

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/ballast-io/ballast"
)

// hole is records that are missing.
type hole struct {
	epoch     ballast.Epoch // of which an object is missing
	after, to ballast.LSN   // to 0: to an end that nobody knows
	object    string        // what is damaged; empty: what is missing
	why       string
	quiet     bool // fine, as long as nothing damaged stands there: the beginning
}

// findHoles looks for what is missing between, before and behind the segments (T2).
func (b *builder) findHoles() {
	b.holes = append(b.holes, b.lost...)
	end, begun := max(b.from, b.line.parent.LSN), false
	segments := b.line.Segments
	for i, p := range b.line.path {
		for len(segments) > 0 && segments[0].Header.Epoch == p.reign.Epoch {
			s := segments[0]
			segments = segments[1:]
			b.findHoleBefore(&s, end, begun)
			end, begun = max(end, s.end()), true
		}
		if i+1 == len(b.line.path) {
			b.findEnd(p, max(end, p.reign.Parent.LSN))
		} else if begun && end < p.exit.LSN {
			b.addHole(hole{epoch: p.reign.Epoch, after: end, to: p.exit.LSN})
			end = p.exit.LSN
		}
	}
	if !begun {
		b.addHole(hole{after: end, to: b.line.tip.LSN, quiet: !b.hasOlder()})
	}
	b.findLostPath()
}

func (b *builder) findHoleBefore(s *Segment, end ballast.LSN, begun bool) {
	h := s.Header
	if end < h.Behind && !seeded(ignoreMissingMiddle) {
		b.addHole(hole{epoch: h.Epoch, after: end, to: h.Behind, quiet: !begun && !b.hasOlder()})
	}
	if end = max(end, h.Behind); end+1 < h.First {
		b.line.Gaps = append(b.line.Gaps, Gap{end, h.First - 1})
	}
}

// hasOlder reports whether there are segments that end at or before from: then there is no
// beginning that may be missing.
func (b *builder) hasOlder() bool {
	return slices.ContainsFunc(b.line.path, func(p span) bool { return len(b.epochs[p.reign.Epoch].unread) > 0 })
}

// addHole keeps what is asked for of h.
func (b *builder) addHole(h hole) {
	h.after = max(h.after, b.from)
	if h.to != 0 && h.to <= h.after {
		return
	}
	if s := b.segmentOver(h); s != nil {
		// Nothing is missing: the history left this object within a group, at a base
		// snapshot.
		b.line.Gaps = append(b.line.Gaps, Gap{h.after, h.to})
		return
	}
	b.holes = append(b.holes, h)
}

func (b *builder) segmentOver(h hole) *Segment {
	for i := range b.line.Segments {
		s := &b.line.Segments[i]
		if s.Header.Epoch == h.epoch && s.Upto == h.to && s.end() <= h.after && s.Header.First <= h.after+1 {
			return s
		}
	}
	return nil
}

// findEnd compares where the last epoch ends with what its head says. A head is put before the
// first segment, and before latest, so one that is missing beside either was lost.
func (b *builder) findEnd(p span, end ballast.LSN) {
	e := b.epochs[p.reign.Epoch]
	if p.exit.LSN != endOfNumbers {
		return // the end was lost with a higher epoch
	}
	b.line.head = e.head
	if n := len(b.line.Segments); n > 0 && b.line.Segments[n-1].Header.Epoch == e.number {
		b.line.tip = b.line.Segments[n-1].Header.Position()
	}
	head := Name{Kind: HeadKind, Volume: b.line.Volume, Epoch: e.number}.String()
	switch {
	case e.head != nil && seeded(ignoreMissingEnd):
	case e.head != nil && e.head.Last > end:
		b.addHole(hole{epoch: e.number, after: end, to: e.head.Last})
	case e.head != nil:
	case e.gone:
		b.addHole(hole{epoch: e.number, after: end, object: epochPrefix(b.line.Volume, e.number), why: "the epoch was opened, and nothing of it is left"})
	case e.hasBad(HeadKind):
		b.addHole(hole{epoch: e.number, after: end, object: head, why: e.whyBad(HeadKind)})
	case len(e.nodes)+len(e.unread) > 0 || b.latest != nil && b.latest.Epoch == e.number:
		b.addHole(hole{epoch: e.number, after: end, object: head, why: "it is missing"})
	}
	for _, x := range e.bad {
		if x.Kind == SegmentKind && x.Last > end && (e.head == nil || x.Last > e.head.Last) {
			b.addHole(hole{epoch: e.number, after: max(end, x.First-1), to: x.Last})
		}
	}
}

func (e *epoch) hasBad(k Kind) bool { return e.whyBad(k) != "" }

func (e *epoch) whyBad(k Kind) string {
	for _, x := range e.bad {
		if x.Kind == k {
			return x.why
		}
	}
	return ""
}

// findLostPath looks whether the path ends where it does because the rest was deleted, or because
// an epoch in its middle was lost: what is deleted goes oldest first.
func (b *builder) findLostPath() {
	l := b.line
	if l.parent.Epoch == 0 || l.parent.LSN <= b.from || len(b.lost) > 0 && len(l.path) == 0 {
		return
	}
	h := hole{epoch: l.parent.Epoch, after: 0, to: l.parent.LSN}
	for number, e := range b.epochs {
		switch {
		case number > l.parent.Epoch:
		case number == l.parent.Epoch && e.reign != nil:
			h.object, h.why = epochPrefix(l.Volume, number), "its objects say that it does not go that far"
			b.addHole(h)
			return
		default:
			h.quiet = false
			b.addHole(h)
			return
		}
	}
}

// judge makes problems of holes, and says which damaged object each is due to.
func (b *builder) judge() {
	blamed, damaged := map[Name]bool{}, b.damaged()
	b.points = b.line.Points()
	for _, h := range b.holes {
		named := false
		for _, x := range damaged {
			if after, to, ok := b.overlap(h, x); ok && !blamed[x.Name] {
				blamed[x.Name], named = true, true
				b.problem(hole{after: after, to: to, object: x.String(), why: x.why})
			}
		}
		if named || h.quiet {
			continue
		}
		if h.object == "" {
			h.object, h.why = fmt.Sprintf("%s…-%016x", epochPrefix(b.line.Volume, h.epoch), uint64(h.to)), "it is missing"
		}
		b.problem(h)
	}
	for _, x := range damaged {
		if !blamed[x.Name] {
			b.note(x.String(), "%s", x.why)
		}
	}
	slices.SortStableFunc(b.line.Problems, func(x, y Problem) int { return cmp.Compare(x.After, y.After) })
}

// damaged returns what is bad, epoch by epoch.
func (b *builder) damaged() (all []bad) {
	for _, number := range slices.Backward(b.descending()) {
		all = append(all, b.epochs[number].bad...)
	}
	return all
}

// overlap returns what x takes from h, if x is of the history as far as its name tells.
func (b *builder) overlap(h hole, x bad) (after, to ballast.LSN, ok bool) {
	if slices.ContainsFunc(b.lost, func(l hole) bool { return l.epoch == x.Epoch }) {
		return h.after, h.to, h.epoch == x.Epoch
	}
	if x.Kind != SegmentKind || h.to == 0 {
		return h.after, h.to, x.String() == h.object
	}
	after, to = max(h.after, x.First-1), min(h.to, x.Last)
	for _, p := range b.line.path {
		if p.reign.Epoch == x.Epoch {
			after, to = max(after, p.reign.Parent.LSN), min(to, p.exit.LSN)
			return after, to, after < to
		}
	}
	return after, to, x.Epoch == b.line.parent.Epoch && after < to
}

func (b *builder) problem(h hole) {
	p := Problem{Object: h.object, Why: h.why, After: h.after, To: h.to}
	if n := sort.Search(len(b.points), func(i int) bool { return b.points[i].LSN > h.after }); n > 0 {
		p.Newest = &b.points[n-1]
	}
	b.line.Problems = append(b.line.Problems, p)
}

// noteTheRest notes segments that were read and are no part of the history.
func (b *builder) noteTheRest() {
	used := map[string]bool{}
	for _, s := range b.line.Segments {
		used[s.Name] = true
	}
	for _, number := range slices.Backward(b.descending()) {
		for _, n := range b.epochs[number].sorted {
			if !used[n.name] {
				b.note(n.name, "the history goes on without it")
			}
		}
	}
}
