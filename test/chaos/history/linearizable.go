package history

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// patience bounds one question to porcupine. It answers in milliseconds unless the answer
// is no.
const patience = 20 * time.Second

// access is an operation on one register, as porcupine is told.
type access struct {
	write bool
	value Value // written
}

// register is the model: it holds what was written last.
func register(before Value) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return before },
		Step: func(state, input, output any) (bool, any) {
			a := input.(access)
			if a.write {
				return true, a.value
			}
			return output == state, state
		},
		DescribeOperation: func(input, output any) string {
			if a := input.(access); a.write {
				return fmt.Sprintf("write %#x", uint64(a.value))
			}
			return fmt.Sprintf("read %#x", uint64(output.(Value)))
		},
	}
}

// checkSurvival asks porcupine for H1: all writes, and then one read of what was found.
func checkSurvival(i, next *Incarnation) []Violation {
	var found []Violation
	for r, writes := range i.writes(next) {
		got := next.Found[r]
		if got == Torn {
			continue // no write of the model leaves that: checkPlainly judges it
		}
		ops := []porcupine.Operation{{ClientId: 1, Input: access{}, Output: got, Call: next.Began, Return: next.Began}}
		for _, w := range writes {
			if op, ok := survivor(w, got, next.Began); ok {
				ops = append(ops, op)
			}
		}
		if porcupine.CheckOperationsTimeout(register(i.Found[r]), ops, patience) == porcupine.Illegal {
			found = append(found, Violation{"H1", fmt.Sprintf("%s block %d: porcupine finds no order of %d writes under epoch %d after which %#x is read",
				r.File, r.Block, len(ops)-1, i.Epoch, uint64(got))})
		}
	}
	slices.SortFunc(found, func(a, b Violation) int { return compare(a.What, b.What) })
	return found
}

// survivor is a write as it counts for what is read at the end. One that nobody
// acknowledged counts when it is what was read, and is then not later than that.
func survivor(w Op, got Value, end int64) (porcupine.Operation, bool) {
	if !w.acknowledged() && w.Value != got {
		return porcupine.Operation{}, false
	}
	return porcupine.Operation{Input: access{true, w.Value}, Call: w.Call, Return: max(w.Call, min(w.Return, end))}, true
}

// checkLive asks porcupine for H2, register by register. A write that nobody acknowledged
// counts when somebody read it.
func checkLive(i *Incarnation) []Violation {
	ops := map[Register][]porcupine.Operation{}
	seen := map[Value]bool{}
	for _, o := range i.Ops {
		if !o.Write {
			seen[o.Value] = true
		}
	}
	for n, o := range i.Ops {
		if !o.acknowledged() && !seen[o.Value] && o.Write {
			continue
		}
		for _, r := range o.Registers {
			ops[r] = append(ops[r], porcupine.Operation{ClientId: n, Input: access{o.Write, o.Value}, Output: o.Value, Call: o.Call, Return: o.Return})
		}
	}
	var found []Violation
	for r, of := range ops {
		if porcupine.CheckOperationsTimeout(register(i.Found[r]), of, patience) == porcupine.Illegal {
			found = append(found, Violation{"H2", fmt.Sprintf("%s block %d: porcupine finds no order of the %d reads and writes on %s under epoch %d",
				r.File, r.Block, len(of), i.Node, i.Epoch)})
		}
	}
	slices.SortFunc(found, func(a, b Violation) int { return compare(a.What, b.What) })
	return found
}
