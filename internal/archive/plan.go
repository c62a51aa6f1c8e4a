package archive

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// planFormat is the version of an encoded plan.
const planFormat = 1

// Plan is everything that a point of a volume needs. It stands for itself: encoded
// as JSON it outlives the process that made it, and all it names is named by what
// verifies it (H2). A plan is not changed.
type Plan struct {
	Format int              `json:"format"`
	Volume ballast.VolumeID `json:"volume"`
	Name   string           `json:"name"`
	Point  tail.Point       `json:"point"`
	Base   *Base            `json:"base,omitempty"`   // nil: zeros
	Layers []Layer          `json:"layers,omitempty"` // over the base, in order; one, or one more per origin
}

// Layer is a stretch of one volume's tail.
type Layer struct {
	Volume  ballast.VolumeID `json:"volume"`
	After   ballast.LSN      `json:"after"` // groups up to here are not laid over
	Until   ballast.LSN      `json:"until"` // nor are those behind
	Objects []Object         `json:"objects"`
}

// Object is an object of the tail.
type Object struct {
	Epoch  ballast.Epoch `json:"epoch"`
	First  ballast.LSN   `json:"first"`
	Last   ballast.LSN   `json:"last"`
	Until  ballast.LSN   `json:"until,omitempty"` // the last record that is on the line; 0: all are
	Front  int64         `json:"front"`           // bytes before its data
	Digest tail.Digest   `json:"digest"`          // of its header
}

// When says which point of a history is wanted. The zero value is the newest one,
// and an error where something says that there was a newer one.
type When struct {
	Time     time.Time   // the last point at or before it
	Snapshot string      // the base snapshot with this id, or its beginning, or with this tag
	Exactly  *tail.Point // this one, whatever there was behind it
}

// Plan finds a point and what it needs. It is a [*GapError] where something of that
// is missing, or where records are that could be of a later point at or before
// the moment; and a [ballast.ErrNotFound] where the history begins later (H1).
func (h *History) Plan(when When) (*Plan, error) {
	if base := h.stray(when); base != nil {
		return &Plan{Format: planFormat, Volume: h.Volume, Name: h.Name, Point: base.Point, Base: base}, nil
	}
	i, exact, err := h.find(when)
	if err != nil {
		return nil, err
	}
	m := h.marks[i]
	first, last := h.missing(i)
	switch {
	case !m.whole:
		return nil, h.broken(i)
	case !exact && first <= last && !seeded(restoreOverMissing):
		return nil, h.gap(i, first, last, nil)
	case !exact && h.behind != nil && i == len(h.marks)-1:
		return nil, h.gap(i, 1, 0, h.behind)
	}
	return h.to(m.point), nil
}

// find returns the mark that is wanted, and whether it is wanted whatever is behind.
func (h *History) find(when When) (i int, exact bool, err error) {
	is := func(tail.Point) bool { return true }
	switch {
	case when.Exactly != nil:
		is, exact = func(p tail.Point) bool { return samePoint(p, *when.Exactly) }, true
	case when.Snapshot != "":
		base, err := h.base(when.Snapshot)
		if err != nil {
			return 0, false, err
		}
		is, exact = func(p tail.Point) bool { return samePoint(p, base.Point) }, true
	case !when.Time.IsZero():
		is = func(p tail.Point) bool { return !p.Time.After(when.Time) }
	}
	for i, m := range slices.Backward(h.marks) {
		if is(m.point) {
			return i, exact || m.point.Time.Equal(when.Time), nil
		}
	}
	return 0, false, h.nothing()
}

// nothing returns the error of a point that is not in the history.
func (h *History) nothing() error {
	if i := slices.IndexFunc(h.marks, func(m mark) bool { return m.whole }); i >= 0 {
		return fmt.Errorf("volume %q has no such point in the archive; the oldest one is %s: %w", h.Name, Moment(h.marks[i].point.Time), ballast.ErrNotFound)
	}
	err := fmt.Errorf("volume %q has no point in the archive that can be restored: %w", h.Name, ballast.ErrNotFound)
	for _, b := range h.strays {
		err = fmt.Errorf("%w; base snapshot %s is of a history that is not the one that is read, or has no log any more, and can be restored by its whole id", err, b.Snapshot)
	}
	return err
}

// stray returns a base that is on no line, but asked for by its id.
func (h *History) stray(when When) *Base {
	for i := range h.strays {
		if when.Snapshot != "" && h.strays[i].Snapshot.String() == when.Snapshot {
			return &h.strays[i]
		}
	}
	return nil
}

// base finds a base by its snapshot's id, the beginning of one, or a tag: of several
// that have it the newest.
func (h *History) base(name string) (*Base, error) {
	const shortest = 4 // digits of an id
	var found *Base
	for i := range h.Bases {
		b := &h.Bases[i]
		if slices.Contains(b.Tags, name) || len(name) >= shortest && strings.HasPrefix(b.Snapshot.String(), name) {
			found = b
		}
	}
	if found == nil {
		return nil, fmt.Errorf("volume %q has no base snapshot %q in the archive: %w", h.Name, name, ballast.ErrNotFound)
	}
	return found, nil
}

// samePoint compares what is not a label.
func samePoint(p, q tail.Point) bool { return p.LSN == q.LSN && p.Epoch == q.Epoch && p.Size == q.Size }

// broken returns the error of a mark that is not whole.
func (h *History) broken(i int) error {
	reach := ballast.LSN(0)
	if m := h.newestWhole(i); m != nil {
		reach = m.point.LSN
	} else if h.begin != nil && h.begin.err != nil {
		return h.gap(i, 1, 0, fmt.Errorf("it began as another volume, and that: %w", h.begin.err))
	}
	for _, o := range h.objects {
		if o.First > reach+1 {
			return h.gap(i, reach+1, o.First-1, nil)
		}
		reach = max(reach, o.until())
	}
	return h.gap(i, reach+1, h.marks[i].point.LSN, nil)
}

// to returns the plan for a point that is whole: the newest base, and the objects
// from there on.
func (h *History) to(p tail.Point) *Plan {
	plan := &Plan{Format: planFormat, Volume: h.Volume, Name: h.Name, Point: p}
	layer := Layer{Volume: h.Volume, Until: p.LSN}
	for i := range h.Bases {
		if b := &h.Bases[i]; b.Point.LSN <= p.LSN && b.Point.Size <= p.Size {
			plan.Base, layer.After = b, b.Point.LSN
		}
	}
	if plan.Base == nil && h.begin.origin != nil {
		plan.Base, plan.Layers = h.begin.origin.Base, slices.Clone(h.begin.origin.Layers)
	}
	for i := range h.objects {
		if o := &h.objects[i]; p.LSN > layer.After && o.until() > layer.After && o.First <= p.LSN {
			layer.Objects = append(layer.Objects, o.Object)
		}
	}
	if len(layer.Objects) > 0 {
		plan.Layers = append(plan.Layers, layer)
	}
	return plan
}

// Lines returns the plan for people, step by step.
func (p *Plan) Lines() []string {
	lines := []string{fmt.Sprintf("the point is %s: LSN %d, %s, %s", Moment(p.Point.Time), p.Point.LSN, p.Point.Epoch, ballast.FormatSize(p.Point.Size))}
	if p.Base == nil {
		lines = append(lines, "begin with an empty volume")
	} else {
		lines = append(lines, fmt.Sprintf("begin with base snapshot %s of %s: LSN %d", p.Base.Snapshot.Short(), Moment(p.Base.Point.Time), p.Base.Point.LSN))
	}
	for _, l := range p.Layers {
		lines = append(lines, fmt.Sprintf("lay %d objects of the tail of volume %s over it: the records behind LSN %d to %d", len(l.Objects), l.Volume, l.After, l.Until))
	}
	return lines
}
