package archive

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/retention"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// Retention says what of a volume's history goes. It is a plan until [Archive.Retain].
type Retention struct {
	Volume ballast.VolumeID
	Steps  []retention.Step // by LSN; for people
	Freed  int64            // bytes of the tail that go; those of bases are freed by a prune

	left    []repository.ID // bases of histories that were left, in the order in which they go
	bases   []repository.ID
	objects []string // of the tail, in the order in which they go
}

// PlanRetention decides what of a volume's history goes. What other volumes began as is
// kept, and so is what the plans in use need (H4). Nothing is deleted by it.
func (a *Archive) PlanRetention(ctx context.Context, volume ballast.VolumeID, policy retention.Policy, now time.Time, inUse []*Plan) (*Retention, error) {
	r, err := a.planRetention(ctx, volume, policy, now, inUse)
	if err != nil {
		return nil, fmt.Errorf("plan retention of volume %s: %w", volume, err)
	}
	return r, nil
}

func (a *Archive) planRetention(ctx context.Context, volume ballast.VolumeID, policy retention.Policy, now time.Time, inUse []*Plan) (*Retention, error) {
	pins, err := a.pins(ctx, volume)
	if err != nil {
		return nil, err
	}
	h, err := a.History(ctx, volume)
	if err != nil {
		return nil, err
	}
	k := &keeper{history: h, used: usedBy(inUse, volume)}
	k.steps = policy.Plan(h.forRetention(pins), now)
	for _, pin := range pins {
		switch {
		case !h.line.OnPath(pin.Epoch, pin.LSN):
			k.freeze("needed by " + pin.Who + ", which began as the volume was before it was restored in its place")
		case pin.LSN == 0:
			k.freeze("needed by " + pin.Who + ", which began as the volume began")
		}
	}
	k.keepUsed()
	k.keepOrder()
	return k.retention(), nil
}

// Retain deletes what a plan says. After an error, or a crash, what is kept is whole, and
// what is left to do is planned anew (H4).
func (a *Archive) Retain(ctx context.Context, r *Retention) error {
	// A base of a history that was left goes before the log that tells so.
	for _, id := range slices.Concat(r.left, r.bases) {
		if err := a.repo.RemoveSnapshot(ctx, id); err != nil {
			return fmt.Errorf("retain volume %s: %w", r.Volume, err)
		}
	}
	for _, name := range r.objects {
		if err := a.store.Delete(ctx, name); err != nil {
			return fmt.Errorf("retain volume %s: delete %s: %w", r.Volume, name, err)
		}
	}
	return nil
}

// forRetention returns the history as retention sees it.
func (h *History) forRetention(pins []retention.Pin) retention.History {
	r := retention.History{Pins: pins}
	for _, b := range h.Bases {
		r.Bases = append(r.Bases, retention.Base{ID: b.Snapshot.String(), LSN: b.Point.LSN, Epoch: b.Point.Epoch, Time: b.Point.Time, Tags: b.Tags})
	}
	for i := range h.objects {
		o := &h.objects[i]
		e := retention.Extent{Name: o.name(h.Volume), First: o.First, Last: o.until(), Bytes: o.bytes}
		if n := len(o.points); n > 0 {
			e.From, e.Until = o.points[0].Time, o.points[n-1].Time
		}
		r.Tail = append(r.Tail, e)
	}
	return r
}

// usedBy returns the names of what plans need of a volume: objects, and ids of snapshots.
func usedBy(plans []*Plan, volume ballast.VolumeID) map[string]bool {
	used := map[string]bool{}
	for _, p := range plans {
		if p.Base != nil {
			used[p.Base.Snapshot.String()] = true
		}
		for _, l := range p.Layers {
			for i := range l.Objects {
				if l.Volume == volume {
					used[l.Objects[i].name(volume)] = true
				}
			}
		}
	}
	return used
}

// keeper turns what retention decided into what can be deleted.
type keeper struct {
	history *History
	used    map[string]bool
	steps   []retention.Step
	frozen  bool
}

// freeze keeps everything.
func (k *keeper) freeze(why string) {
	k.frozen = true
	for i := range k.steps {
		k.keep(i, why)
	}
}

func (k *keeper) keep(i int, why string) {
	if !k.steps[i].Keep {
		k.steps[i].Keep, k.steps[i].Reason = true, why
	}
}

// keepUsed keeps what a volume is being filled from.
func (k *keeper) keepUsed() {
	for i, s := range k.steps {
		isUsed := func(e retention.Extent) bool { return k.used[e.Name] }
		if k.used[s.Base] || slices.ContainsFunc(s.Tail, isUsed) {
			k.keep(i, "a volume is being filled from it")
		}
	}
}

// keepOrder keeps the tail behind what is kept of it: a tail without a hole can tell what
// was lost from what was deleted.
func (k *keeper) keepOrder() {
	kept := false
	for i, s := range k.steps {
		if s.Base != "" {
			continue
		}
		if kept {
			k.keep(i, "older parts of the tail are needed")
		}
		kept = kept || k.steps[i].Keep
	}
}

// retention returns what goes.
func (k *keeper) retention() *Retention {
	r := &Retention{Volume: k.history.Volume, Steps: k.steps}
	upto, kept := ballast.LSN(0), k.history.oldestKept(k.steps)
	for _, s := range k.steps {
		switch {
		case s.Keep:
		case s.Base != "":
			if id, err := repository.ParseID(s.Base); err == nil {
				r.bases = append(r.bases, id)
			}
		default:
			upto = s.Tail[len(s.Tail)-1].Last
			for _, e := range s.Tail {
				r.Freed += e.Bytes
			}
		}
	}
	if k.frozen {
		return r
	}
	leftovers := false
	for _, b := range k.history.strays {
		if len(b.Tags) > 0 || k.used[b.Snapshot.String()] || !b.Point.Time.Before(kept) {
			leftovers = true
			continue
		}
		r.left = append(r.left, b.Snapshot)
	}
	r.objects = k.objects(upto, leftovers)
	return r
}

// oldestKept returns the time of the oldest base or object that is kept.
func (h *History) oldestKept(steps []retention.Step) time.Time {
	for _, s := range steps {
		if s.Keep && !s.Time.IsZero() {
			return s.Time
		}
	}
	return time.Time{}
}

// objects returns what goes of the tail up to an LSN. As long as there are bases of
// histories that were left, what tells that they were left stays (H5).
func (k *keeper) objects(upto ballast.LSN, leftovers bool) []string {
	if upto == 0 {
		return nil
	}
	var names []string
	for _, name := range k.history.line.Obsolete(upto) {
		if k.used[name] {
			break
		}
		if kind := tail.ParseName(name).Kind; kind != tail.SegmentKind && leftovers {
			continue
		}
		names = append(names, name)
	}
	return names
}
