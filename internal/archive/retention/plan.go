package retention

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ballast-io/ballast"
)

// History is what there is of a volume, on the line that is read. The order of its
// parts does not matter.
type History struct {
	Bases []Base
	Tail  []Extent
	Pins  []Pin
}

// Base is a base snapshot: it can be restored by itself.
type Base struct {
	ID    string
	LSN   ballast.LSN
	Epoch ballast.Epoch
	Time  time.Time // zero: not known
	Tags  []string  // a user's; a base with any is kept
}

// Extent is an object of the tail, with the records from First to Last.
type Extent struct {
	Name        string
	First, Last ballast.LSN
	From, Until time.Time // of its first and its last point; zero: not known
	Bytes       int64     // in the store
}

// Pin is a point that is needed whatever the policy says, because another volume begins
// there.
type Pin struct {
	LSN   ballast.LSN
	Epoch ballast.Epoch
	Who   string // needs it, for people
}

// Step is what a plan does with a base, or with extents of the tail that follow each other
// and share a reason.
type Step struct {
	Keep   bool
	Base   string   // its id; empty: it is about the tail
	Tail   []Extent // by LSN
	Time   time.Time
	What   string // for people
	Reason string // which rules keep it, or why it goes
}

// String returns the step for people.
func (s Step) String() string {
	verb := "delete"
	if s.Keep {
		verb = "keep"
	}
	return fmt.Sprintf("%-6s %s of %s: %s", verb, s.What, s.Time.UTC().Format("2006-01-02 15:04:05"), s.Reason)
}

// gone is the reason of what no rule keeps.
const gone = "no rule keeps it, and nothing that is kept needs it"

// Plan decides what is kept of a history. Every base and every extent is in one step; steps
// are in the order of their LSNs. Nothing is changed by it.
func (p Policy) Plan(h History, now time.Time) []Step {
	d := newDecision(h, now)
	for _, r := range p {
		if r.Kind == AnySecond {
			d.keepWindow(r)
		} else {
			d.keepNewest(r)
		}
	}
	d.keepNewestPoint()
	d.keepTagged()
	d.keepPins(h.Pins)
	return d.steps()
}

// decision is a plan in the making: the reasons to keep each base and extent.
type decision struct {
	now     time.Time // or the newest time that there is, where that is earlier (T5)
	bases   []Base    // by LSN
	tail    []Extent  // by LSN
	baseWhy [][]string
	tailWhy [][]string
}

func newDecision(h History, now time.Time) *decision {
	d := &decision{bases: slices.Clone(h.Bases), tail: slices.Clone(h.Tail), now: now}
	slices.SortStableFunc(d.bases, func(a, b Base) int {
		return cmp.Or(cmp.Compare(a.LSN, b.LSN), a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(d.tail, func(a, b Extent) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Name, b.Name))
	})
	d.baseWhy, d.tailWhy = make([][]string, len(d.bases)), make([][]string, len(d.tail))
	if newest, ok := d.newestTime(); ok && newest.Before(now) {
		d.now = newest
	}
	return d
}

func (d *decision) newestTime() (newest time.Time, ok bool) {
	for _, b := range d.bases {
		newest, ok = later(newest, b.Time), true
	}
	for _, e := range d.tail {
		newest, ok = later(newest, later(e.From, e.Until)), true
	}
	return newest, ok
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// keepBase notes a reason to keep the i-th base, once.
func (d *decision) keepBase(i int, why string) {
	if !slices.Contains(d.baseWhy[i], why) {
		d.baseWhy[i] = append(d.baseWhy[i], why)
	}
}

// keepTail notes a reason to keep the records behind after up to until.
func (d *decision) keepTail(after, until ballast.LSN, why string) {
	for i, e := range d.tail {
		if e.Last > after && e.First <= until && !slices.Contains(d.tailWhy[i], why) {
			d.tailWhy[i] = append(d.tailWhy[i], why)
		}
	}
}

// keepPoint keeps what the point at an LSN needs (T1): the last base up to it that is one of
// those asked for, where there is none the beginning, and the tail from there up to until.
func (d *decision) keepPoint(lsn, until ballast.LSN, asked func(Base) bool, why string) {
	from := ballast.LSN(0)
	for i, b := range slices.Backward(d.bases) {
		if b.LSN <= lsn && asked(b) {
			from = b.LSN
			d.keepBase(i, why)
			break
		}
	}
	d.keepTail(from, until, why)
}

func anyBase(Base) bool { return true }

// end is behind every LSN.
const end = ^ballast.LSN(0)

// keepNewestPoint keeps the newest base, and what came after it (T2).
func (d *decision) keepNewestPoint() {
	d.keepPoint(end, end, anyBase, "the newest point needs it")
}

// keepTagged keeps what a user gave a name (T2).
func (d *decision) keepTagged() {
	for i, b := range d.bases {
		if len(b.Tags) > 0 {
			d.keepBase(i, "tagged "+strings.Join(b.Tags, ", "))
		}
	}
}

// keepPins keeps the points at which other volumes began (T2). A base at such a point, but of
// another epoch, has the bytes and not the name: what has the name stays as well.
func (d *decision) keepPins(pins []Pin) {
	for _, pin := range pins {
		why := "needed by " + pin.Who
		d.keepPoint(pin.LSN, pin.LSN, anyBase, why)
		d.keepPoint(pin.LSN, pin.LSN, func(b Base) bool { return b.LSN < pin.LSN || b.Epoch == pin.Epoch }, why)
	}
}

// keepWindow keeps every moment of the window (T3): the last base at or before its start, and
// the tail from there on. A base that was taken later is none of those, even at the LSN that
// the volume had at the start: nothing would tell any more that it had it then. The bases
// in the window spare a restore the replay of what came before them.
func (d *decision) keepWindow(r Rule) {
	start := d.now.Add(-r.For)
	first := d.lastUpTo(start)
	d.keepPoint(first, end, func(b Base) bool { return upTo(b.Time, start) }, r.String())
	d.keepPoint(first, end, anyBase, r.String()) // should the tail from that one have a gap
	for i, b := range d.bases {
		if b.LSN >= first {
			d.keepBase(i, r.String())
		}
	}
}

// lastUpTo returns the LSN of the last point at or before a moment, or a lower one: which
// points an extent has between its first and its last is not known here. 0: there is none.
func (d *decision) lastUpTo(moment time.Time) (lsn ballast.LSN) {
	for _, b := range d.bases {
		if upTo(b.Time, moment) {
			lsn = max(lsn, b.LSN)
		}
	}
	for _, e := range d.tail {
		switch {
		case upTo(e.Until, moment):
			lsn = max(lsn, e.Last)
		case upTo(e.From, moment):
			lsn = max(lsn, e.First)
		}
	}
	return lsn
}

// upTo says whether a time is known to be at or before a moment.
func upTo(t, moment time.Time) bool { return !t.IsZero() && !t.After(moment) }

// keepNewest keeps the newest base of each hour, day, … of the rule's age. Which one that
// is does not depend on now (T4).
func (d *decision) keepNewest(r Rule) {
	newest := map[int64]int{}
	for i, b := range d.bases {
		newest[period(r.Kind, b.Time)] = i // the last one in the order of LSNs stays
	}
	for _, i := range newest {
		if at := d.bases[i].Time; at.IsZero() || !at.Before(d.now.Add(-r.For)) {
			d.keepBase(i, r.String())
		}
	}
}

// period numbers the hours, days, … of the calendar.
func period(k Kind, at time.Time) int64 {
	at = at.UTC()
	switch k {
	case Hourly:
		return floor(at.Unix(), 3600)
	case Daily:
		return floor(at.Unix(), 86400)
	case Weekly:
		return floor(at.Unix()+3*86400, 7*86400) // 1970 began on a Thursday
	case Monthly:
		return int64(at.Year())*12 + int64(at.Month())
	case Yearly:
		return int64(at.Year())
	case AnySecond:
	}
	return at.UnixNano()
}

func floor(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}

// steps returns the plan: at each base's LSN first the base, then the tail behind it.
func (d *decision) steps() []Step {
	var steps []Step
	tail := 0
	for i, b := range d.bases {
		for tail < len(d.tail) && d.tail[tail].First <= b.LSN {
			steps = d.addExtent(steps, tail)
			tail++
		}
		steps = append(steps, Step{
			Base: b.ID, Time: b.Time, What: fmt.Sprintf("base %.12s, LSN %d", b.ID, b.LSN),
			Keep: len(d.baseWhy[i]) > 0, Reason: reason(d.baseWhy[i]),
		})
	}
	for ; tail < len(d.tail); tail++ {
		steps = d.addExtent(steps, tail)
	}
	return steps
}

// addExtent adds an extent to the last step, if it is of one kind with it, or as a new one.
func (d *decision) addExtent(steps []Step, i int) []Step {
	e, why := d.tail[i], reason(d.tailWhy[i])
	if n := len(steps) - 1; n >= 0 && steps[n].Base == "" && steps[n].Reason == why {
		steps[n].Tail = append(steps[n].Tail, e)
		steps[n].What = tailWhat(steps[n].Tail)
		return steps
	}
	one := []Extent{e}
	return append(steps, Step{Tail: one, Time: e.From, What: tailWhat(one), Keep: len(d.tailWhy[i]) > 0, Reason: why})
}

func tailWhat(all []Extent) string {
	return fmt.Sprintf("tail, LSN %d to %d", all[0].First, all[len(all)-1].Last)
}

func reason(why []string) string {
	if len(why) == 0 {
		return gone
	}
	return strings.Join(why, "; ")
}
