package history

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var block = Register{"direct", 3}

func write(v Value, call, ret int64) Op {
	return Op{Write: true, Value: v, Registers: []Register{block}, Call: call, Return: ret}
}

func read(v Value, call, ret int64) Op {
	return Op{Value: v, Registers: []Register{block}, Call: call, Return: ret}
}

// incarnation begins at 0 with value 1 in the block.
func incarnation(ops ...Op) *Incarnation {
	return &Incarnation{Node: "n1", Epoch: 1, Found: map[Register]Value{block: 1}, Ops: ops}
}

func finds(v Value) *Incarnation {
	return &Incarnation{Node: "n2", Epoch: 2, Found: map[Register]Value{block: v}, Began: 100}
}

func TestCheck(t *testing.T) {
	stale := finds(2)
	stale.Epoch = 1
	for _, tt := range []struct {
		name string
		i    *Incarnation
		next *Incarnation
		want []string // rules that are broken
	}{
		{"nothing happened", incarnation(), finds(1), nil},
		{"the last write", incarnation(write(2, 1, 2), write(3, 3, 4)), finds(3), nil},
		{"either of two at once", incarnation(write(2, 1, 4), write(3, 2, 3)), finds(2), nil},
		{"a write in doubt that happened", incarnation(write(2, 1, 2), write(3, 3, Unknown)), finds(3), nil},
		{"a write in doubt that did not", incarnation(write(2, 1, 2), write(3, 3, Unknown)), finds(2), nil},
		{"a lost write", incarnation(write(2, 1, 2)), finds(1), []string{"H1", "H1"}},
		{"an earlier write", incarnation(write(2, 1, 2), write(3, 3, 4)), finds(2), []string{"H1", "H1"}},
		{"an earlier write in doubt", incarnation(write(2, 1, Unknown), write(3, 3, 4)), finds(2), nil}, // it came late
		{"a value from nowhere", incarnation(write(2, 1, 2)), finds(9), []string{"H1", "H1"}},
		{"an unwritten block", incarnation(write(2, 1, 2)), finds(0), []string{"H1", "H1"}},
		{"a part of a write in doubt", incarnation(write(2, 1, 2), write(3, 3, Unknown)), finds(Torn), nil},
		{"a part of a write", incarnation(write(2, 1, 2)), finds(Torn), []string{"H1"}},
		{"the same epoch", incarnation(write(2, 1, 2)), stale, []string{"H4"}},
		{"reads see writes", incarnation(read(1, 1, 2), write(2, 3, 4), read(2, 5, 6)), finds(2), nil},
		{"a read of a write in doubt", incarnation(write(2, 1, Unknown), read(2, 5, 6)), finds(1), nil},
		{"a stale read", incarnation(write(2, 1, 2), read(1, 3, 4)), finds(2), []string{"H2"}},
		{"a read that goes back", incarnation(write(2, 1, 9), read(2, 2, 3), read(1, 4, 5)), finds(2), []string{"H2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			found := Check(tt.i, tt.next)
			for _, v := range found {
				got = append(got, v.Rule)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("broken: %v; want %v", found, tt.want)
			}
		})
	}
}

// TestCheckWriters asks for H3.
func TestCheckWriters(t *testing.T) {
	next := func(ops ...Op) *Incarnation { i := finds(1); i.Ops = ops; return i }
	sleeper := incarnation(write(2, 1, 60))
	sleeper.Asleep = []Span{{5, 80}}
	zombie := incarnation(write(2, 55, 60))
	zombie.Asleep = []Span{{58, 80}}
	for _, tt := range []struct {
		name string
		all  []*Incarnation
		want int
	}{
		{"one after the other", []*Incarnation{incarnation(write(2, 1, 2)), next(write(3, 50, 51))}, 0},
		{"no acknowledgement later", []*Incarnation{incarnation(write(2, 1, 2)), next(write(3, 1, Unknown))}, 0},
		{"two writers", []*Incarnation{incarnation(write(2, 1, 2), write(4, 52, 53)), next(write(3, 50, 51))}, 1},
		{"an older one", []*Incarnation{incarnation(write(4, 52, 53)), next(), next(write(3, 50, 51))}, 1},
		{"in doubt", []*Incarnation{incarnation(write(4, 52, Unknown)), next(write(3, 50, 51))}, 0},
		{"told late", []*Incarnation{sleeper, next(write(3, 50, 51))}, 0},
		{"told late, and begun too late", []*Incarnation{zombie, next(write(3, 50, 51))}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := CheckWriters(tt.all); len(got) != tt.want {
				t.Errorf("found %v; want %d", got, tt.want)
			}
		})
	}
}

// TestJudgesAgree lets both judges of H1 look at random histories of a disk that loses a
// write now and then.
func TestJudgesAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	lost := 0
	for range 3000 {
		var ops []Op
		now, held := int64(1), Value(1)
		for v := range Value(rng.IntN(8)) {
			w := write(v+2, now, now+1+rng.Int64N(4))
			now += 1 + rng.Int64N(3)
			if rng.IntN(8) == 0 {
				w.Return = Unknown
			}
			if rng.IntN(6) > 0 {
				held = w.Value
			}
			ops = append(ops, w)
		}
		i, next := incarnation(ops...), finds(held)
		plain, porcupine := checkPlainly(i, next), checkSurvival(i, next)
		if len(plain) != len(porcupine) {
			t.Fatalf("of %+v, then %d:\nplainly %v\nporcupine %v", ops, held, plain, porcupine)
		}
		lost += len(plain)
	}
	if lost < 100 || lost > 2900 {
		t.Errorf("%d of 3000 histories were wrong: the test shows little", lost)
	}
}

func TestViolationSaysWhat(t *testing.T) {
	got := Check(incarnation(write(2, 1, 2)), finds(1))[0].String()
	for _, want := range []string{"H1", "direct block 3", "0x2", "lost", "n2"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}
