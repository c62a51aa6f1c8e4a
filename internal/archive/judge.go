package archive

import (
	"cmp"
	"slices"
	"sort"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// mark is a point that was archived.
type mark struct {
	point tail.Point
	whole bool // everything that is needed for it is there
}

// step is what is met on the way along a volume's line: something to begin from,
// or a part of an object.
type step struct {
	point  tail.Point // only its LSN is set at an object's end
	object *object    // nil: the beginning, or a base
	mark   bool       // a restore can stop here
	whole  bool       // of what a restore can begin from
}

// judge finds all points, and which of them are whole: those that a base, or the
// volume's beginning, leads to through objects that follow each other (H1).
func (h *History) judge() {
	h.runs = runsOf(h.objects)
	reached, reach := false, ballast.LSN(0)
	for _, s := range h.steps() {
		whole := s.whole
		if s.object != nil {
			whole = reached && s.object.First <= reach+1
		}
		if whole {
			reached, reach = true, max(reach, s.point.LSN)
		}
		if s.mark {
			h.marks = append(h.marks, mark{point: s.point, whole: whole})
		}
	}
}

// steps returns the beginning, all bases, points and ends of objects, by LSN. Of
// two at one LSN a base is first: it makes the other whole. The size is compared as
// a volume may grow without a record.
func (h *History) steps() []step {
	var steps []step
	if h.begin != nil {
		steps = append(steps, step{point: h.begin.point, mark: true, whole: h.begin.err == nil})
	}
	for i := range h.Bases {
		steps = append(steps, step{point: h.Bases[i].Point, mark: true, whole: true})
	}
	for i := range h.objects {
		o := &h.objects[i]
		for _, p := range o.points {
			steps = append(steps, step{point: p, object: o, mark: true})
		}
		steps = append(steps, step{point: tail.Point{LSN: o.until()}, object: o})
	}
	slices.SortStableFunc(steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.point.LSN, b.point.LSN), cmp.Compare(a.point.Size, b.point.Size))
	})
	return steps
}

// run is objects that follow each other.
type run struct{ first, last ballast.LSN }

// runsOf returns the runs of objects, by LSN.
func runsOf(objects []object) []run {
	var runs []run
	for i := range objects {
		o := &objects[i]
		if n := len(runs); n > 0 && o.First <= runs[n-1].last+1 {
			runs[n-1].last = max(runs[n-1].last, o.until())
		} else {
			runs = append(runs, run{o.First, o.until()})
		}
	}
	return runs
}

// missing returns the records that are not there between a mark and the next one,
// or behind the last; first > last: none are missing.
func (h *History) missing(i int) (first, last ballast.LSN) {
	end := h.marks[i].point.LSN
	behind := sort.Search(len(h.runs), func(r int) bool { return h.runs[r].first > end+1 })
	if behind > 0 {
		end = max(end, h.runs[behind-1].last)
	}
	if i+1 == len(h.marks) {
		return end + 1, h.head
	}
	next := h.marks[i+1].point.LSN
	if behind < len(h.runs) {
		next = min(next, h.runs[behind].first-1)
	}
	return end + 1, next
}
