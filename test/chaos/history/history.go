package history

import (
	"fmt"
	"math"
	"slices"
)

// Register is what is written and read as a whole.
type Register struct {
	File  string
	Block int
}

// Value is what is written. 0 is what a register holds before the first write.
type Value uint64

// Torn is read from a register of several blocks that holds no value: a write that was not
// acknowledged left a part of it.
const Torn Value = math.MaxUint64

// Unknown is the end of an operation that has none: a write that was not acknowledged may
// have happened, or not, or happen later.
const Unknown int64 = math.MaxInt64

// Op is one operation on some registers. Times are nanoseconds of one monotonic clock.
type Op struct {
	Write     bool
	Value     Value
	Registers []Register
	Call      int64 // not later than its effect
	Return    int64 // not earlier than its effect; [Unknown] where nothing was acknowledged
}

func (o Op) acknowledged() bool { return o.Write && o.Return != Unknown }

// Incarnation is one user of the volume on one primary.
type Incarnation struct {
	Node  string
	Epoch uint64
	Found map[Register]Value // what it read before its first write; what is missing is 0
	Began int64              // when it had read that
	Ops   []Op               // of its own, in any order
	// Asleep are the times in which the user itself was stopped: what it says of them is
	// said later than it happened.
	Asleep []Span
}

// Span is a stretch of time.
type Span struct{ From, To int64 }

// awake reports whether a time can be trusted to be that of what it is about.
func (i *Incarnation) awake(at int64) bool {
	return !slices.ContainsFunc(i.Asleep, func(s Span) bool { return s.From <= at && at <= s.To })
}

// Acknowledged counts the writes that were acknowledged.
func (i *Incarnation) Acknowledged() int {
	n := 0
	for _, o := range i.Ops {
		if o.acknowledged() {
			n++
		}
	}
	return n
}

// firstAck is when the first write was acknowledged, or [Unknown].
func (i *Incarnation) firstAck() int64 {
	first := Unknown
	for _, o := range i.Ops {
		if o.acknowledged() {
			first = min(first, o.Return)
		}
	}
	return first
}

// Violation is what no disk with one writer does.
type Violation struct {
	Rule string // H1, …
	What string
}

func (v Violation) String() string { return v.Rule + ": " + v.What }

// Check judges an incarnation and the one after it, in which Found is what that found. next
// may be nil when there is none.
func Check(i, next *Incarnation) []Violation {
	found := checkLive(i)
	if next == nil {
		return found
	}
	found = append(found, checkEpochs(i, next)...)
	found = append(found, checkPlainly(i, next)...)
	return append(found, checkSurvival(i, next)...)
}

// CheckWriters asks for H3 over all incarnations, in the order of their epochs: what the
// earlier ones say after they were replaced counts as well, so ask at the end.
func CheckWriters(all []*Incarnation) []Violation {
	var found []Violation
	for n, i := range all {
		for _, later := range all[n+1:] {
			if v, ok := overlap(i, later); ok {
				found = append(found, v)
				break
			}
		}
	}
	return found
}

// overlap finds an acknowledgement to i after the first one to later.
func overlap(i, later *Incarnation) (Violation, bool) {
	first := later.firstAck()
	for _, o := range i.Ops {
		if !o.acknowledged() {
			continue
		}
		// While its user slept, an acknowledgement is older than its time; but not older
		// than the operation.
		at := o.Return
		if !i.awake(at) {
			at = o.Call
		}
		if at > first {
			return Violation{"H3", fmt.Sprintf("%s acknowledged value %#x under epoch %d, %.3f s after %s had acknowledged one under epoch %d",
				i.Node, uint64(o.Value), i.Epoch, float64(at-first)/1e9, later.Node, later.Epoch)}, true
		}
	}
	return Violation{}, false
}

func checkEpochs(i, next *Incarnation) []Violation {
	if next.Epoch > i.Epoch {
		return nil
	}
	return []Violation{{"H4", fmt.Sprintf("%s went on under epoch %d after %s under epoch %d", next.Node, next.Epoch, i.Node, i.Epoch)}}
}

// checkPlainly asks for H1 in its own words: the value that was found is that of a write
// that could have been the last one.
func checkPlainly(i, next *Incarnation) []Violation {
	var found []Violation
	for r, ops := range i.writes(next) {
		if v, ok := judge(r, ops, i.Found[r], next.Found[r]); !ok {
			v.What += fmt.Sprintf(" (written on %s under epoch %d, read on %s under epoch %d)", i.Node, i.Epoch, next.Node, next.Epoch)
			found = append(found, v)
		}
	}
	slices.SortFunc(found, func(a, b Violation) int { return compare(a.What, b.What) })
	return found
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// writes are the writes of an incarnation by register, with an entry for each register
// that either of both knows.
func (i *Incarnation) writes(next *Incarnation) map[Register][]Op {
	by := map[Register][]Op{}
	for r := range i.Found {
		by[r] = nil
	}
	for r := range next.Found {
		by[r] = nil
	}
	for _, o := range i.Ops {
		if !o.Write {
			continue
		}
		for _, r := range o.Registers {
			by[r] = append(by[r], o)
		}
	}
	return by
}

// judge says whether a register that held before may hold got after the writes.
func judge(r Register, writes []Op, before, got Value) (Violation, bool) {
	bad := func(format string, args ...any) (Violation, bool) {
		return Violation{"H1", fmt.Sprintf("%s block %d: ", r.File, r.Block) + fmt.Sprintf(format, args...)}, false
	}
	if got == Torn {
		if mayBeTorn(writes, before) {
			return Violation{}, true
		}
		return bad("is damaged, and none of %d writes to it was in doubt", len(writes))
	}
	var of *Op // that wrote what was got
	for k := range writes {
		if writes[k].Value == got {
			of = &writes[k]
		}
	}
	if of == nil && got != before {
		return bad("holds value %#x, which nobody has just written; it held %#x before %d writes", uint64(got), uint64(before), len(writes))
	}
	for _, w := range writes {
		switch {
		case !w.acknowledged() || w.Value == got:
		case of == nil:
			return bad("value %#x was acknowledged and is lost: it holds %#x, as before", uint64(w.Value), uint64(got))
		case of.Return < w.Call: // w came wholly after it
			return bad("value %#x was acknowledged and is lost: it holds the earlier %#x", uint64(w.Value), uint64(got))
		}
	}
	return Violation{}, true
}

// mayBeTorn reports whether a register can hold a part of a write: of one that is in doubt, or
// it did before and was not written.
func mayBeTorn(writes []Op, before Value) bool {
	written := false
	for _, w := range writes {
		if !w.acknowledged() {
			return true
		}
		written = true
	}
	return before == Torn && !written
}
