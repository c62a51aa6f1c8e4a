package tail

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/delta"
)

func newCopy(seed uint64, st *memory) *copyOf {
	return &copyOf{name: "n1", volume: testVolume, epoch: 1, store: st, sealer: newSealer(1), rng: rand.New(rand.NewPCG(seed, 7))}
}

func mustLoad(t *testing.T, st *memory, sealer Sealer, volume ballast.VolumeID, from ballast.LSN) *Line {
	t.Helper()
	l, err := NewReader(st, sealer).Load(t.Context(), volume, from)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantWhole loads the line and checks that all of the copy's acknowledged log is in it, exactly.
func wantWhole(t *testing.T, c *copyOf) *Line {
	t.Helper()
	l := mustLoad(t, c.store.clone(), c.sealer, c.volume, 0)
	if len(l.Problems) > 0 {
		t.Fatalf("problem: %v", &l.Problems[0])
	}
	got := restore(t.Context(), NewReader(c.store.clone(), c.sealer), l)
	if got.err != nil || got.newest < c.acked { // T4
		t.Fatalf("restored up to LSN %d of %d: %v", got.newest, c.acked, got.err)
	}
	got.wantExact(t, c.log)
	return l
}

func TestShip(t *testing.T) {
	c, mk := newCopy(1, newMemory()), &maker{}
	for range 300 {
		c.writeSome(mk)
		if c.rng.IntN(9) == 0 {
			c.epoch++
			c.shipper = nil
			c.log = c.log[:c.acked] // what an attach finds: all of an older epoch is shipped
		}
		if err := c.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l := wantWhole(t, c)
	if l.Tip() != c.shipper.State().Position() || l.Epoch != c.epoch || l.Open.Name != "db" {
		t.Errorf("tip = %+v of epoch %d; want %+v of %d", l.Tip(), l.Epoch, c.shipper.State().Position(), c.epoch)
	}
	if len(l.Notes)+len(l.Gaps) > 0 {
		t.Errorf("notes %v, gaps %v; want none", l.Notes, l.Gaps)
	}
}

// T6: who has shipped everything asks the store for nothing.
func TestIdleMakesNoRequest(t *testing.T) {
	c, mk := newCopy(1, newMemory()), &maker{}
	c.writeSome(mk)
	for c.acked < ballast.LSN(len(c.log)) {
		if err := c.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.shipper, c.store.calls = nil, 0
	if err := c.step(t.Context()); err != nil || c.store.calls != 0 {
		t.Errorf("an idle volume after a start: %d requests, %v; want none", c.store.calls, err)
	}
}

// A crash before or after every request in turn: whatever was acknowledged stays, whichever
// state the writer finds on its disk, and however the next deltas are cut (T4).
func TestCrashBetweenSteps(t *testing.T) {
	for _, loss := range []struct {
		name  string
		state func(before, now *State) *State
	}{
		{"the state is there", func(_, now *State) *State { return now }},
		{"the state is old", func(before, _ *State) *State { return before }},
		{"the state is lost", func(_, _ *State) *State { return nil }},
	} {
		t.Run(loss.name, func(t *testing.T) {
			for _, f := range []fault{refused, unheard, delayed} {
				call := 1
				for crashAt(t, f, call, loss.state) {
					call++
				}
			}
		})
	}
}

// crashAt reports false when everything was done before the call.
func crashAt(t *testing.T, f fault, call int, state func(before, now *State) *State) bool {
	t.Helper()
	c, mk := newCopy(uint64(call), newMemory()), &maker{}
	c.store.fault = func(n int) fault {
		switch {
		case n < call:
			return none
		case n == call:
			return f
		}
		return refused // it is dead
	}
	before, crashed := c.saved, false
	for i := range 6 {
		c.writeSome(mk)
		if i == 3 && c.acked == ballast.LSN(len(c.log)) {
			c.epoch++
		}
		old := c.saved
		if crashed = c.step(t.Context()) != nil; crashed {
			before = old
			break
		}
	}
	c.store.fault = nil
	if !crashed {
		wantWhole(t, c)
		return false
	}
	wantWhole(t, c)
	c.shipper, c.saved = nil, state(before, c.saved)
	for i := range 6 {
		if i == 2 {
			c.store.arrive()
		}
		c.writeSome(mk)
		if err := c.step(t.Context()); err != nil {
			t.Fatalf("fault %d at request %d, step %d after: %v", f, call, i, err)
		}
		wantWhole(t, c)
	}
	return true
}

// An error of any single request is no more than an error: repeating goes on.
func TestErrorsPass(t *testing.T) {
	for seed := range uint64(200 / share) {
		c, mk := newCopy(seed, newMemory()), &maker{}
		faults := rand.New(rand.NewPCG(seed, 8))
		c.store.fault = func(int) fault { return fault(max(0, faults.IntN(9)-5)) % forgotten }
		for range 40 {
			c.writeSome(mk)
			if err := c.step(t.Context()); err != nil && !errors.Is(err, errStore) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if faults.IntN(4) == 0 {
				c.store.arrive()
			}
		}
		c.store.fault = nil
		wantWhole(t, c)
	}
}

func TestFence(t *testing.T) {
	st := newMemory()
	a, mk := newCopy(1, st), &maker{}
	a.writeSome(mk)
	if err := a.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := takeOver(t, a, "n2", a.epoch+1)
	a.writeSome(mk)
	if err := a.step(t.Context()); err != nil {
		t.Fatalf("a writer that does not know yet: %v", err)
	}
	b.writeSome(mk)
	if err := b.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, b) // T3
	a.shipper = nil // at the next start at the latest it knows
	a.writeSome(mk)
	for range 2 {
		calls := st.calls
		if err := a.step(t.Context()); !errors.Is(err, ErrFenced) {
			t.Fatalf("Ship = %v; want %v", err, ErrFenced)
		}
		if a.shipper = nil; a.saved.Fenced && calls == st.calls {
			return // T5: it asked nobody any more
		}
	}
	t.Error("the fenced writer asks anew after each start")
}

// takeOver recovers the volume of c on another node.
func takeOver(t *testing.T, c *copyOf, name string, epoch ballast.Epoch) *copyOf {
	t.Helper()
	l := mustLoad(t, c.store.clone(), c.sealer, c.volume, 0)
	b := newCopy(uint64(epoch), c.store)
	b.name, b.epoch, b.sealer, b.volume = name, epoch, c.sealer, c.volume
	b.log = append(b.log, c.log[:l.Tip().LSN]...)
	var err error
	if b.shipper, err = Resume(t.Context(), b.config(), nil); err != nil {
		t.Fatal(err)
	}
	if err := b.shipper.OpenEpoch(t.Context(), *b.open(l.Tip())); err != nil {
		t.Fatal(err)
	}
	return b
}

// Of two that want the same epoch one has it, and the other one ships nothing: neither when it
// looks before it opens, nor when it looked before the other one did, and only its try tells it.
func TestOneOpens(t *testing.T) {
	for _, looks := range []bool{true, false} {
		t.Run(fmt.Sprintf("looks=%t", looks), func(t *testing.T) { oneOpens(t, looks) })
	}
}

func oneOpens(t *testing.T, looks bool) {
	a, mk := newCopy(1, newMemory()), &maker{}
	a.writeSome(mk)
	if err := a.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := takeOver(t, a, "n2", 2)
	if a.epoch = 2; looks {
		a.shipper = nil
	}
	a.writeSome(mk)
	objects := len(a.store.objects)
	if err := a.step(t.Context()); !errors.Is(err, ErrFenced) {
		t.Fatalf("OpenEpoch = %v; want %v", err, ErrFenced)
	}
	a.saved, a.shipper = nil, nil // and it does not forget who it is, either
	if err := a.step(t.Context()); !errors.Is(err, ErrFenced) {
		t.Fatalf("OpenEpoch without a state = %v; want %v", err, ErrFenced)
	}
	a.saved, a.shipper, a.epoch = nil, nil, 3
	if err := a.step(t.Context()); !errors.Is(err, ErrFenced) {
		t.Fatalf("OpenEpoch of a copy that the history left = %v; want %v", err, ErrFenced)
	}
	if len(a.store.objects) != objects {
		t.Error("the loser put something")
	}
	wantWhole(t, b)
	b.writeSome(mk)
	if err := b.step(t.Context()); err != nil {
		t.Fatalf("the one that has it: %v", err)
	}
	wantWhole(t, b)
}

// A volume that is restored in its place to an older point continues there.
func TestRestoreInPlace(t *testing.T) {
	c, mk := newCopy(3, newMemory()), &maker{}
	for range 9 {
		c.writeSome(mk)
		if err := c.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l := wantWhole(t, c)
	points := l.Points()
	p := points[len(points)/2]
	c.log, c.epoch, c.acked = c.log[:p.LSN], 2, p.LSN
	if err := c.shipper.OpenEpoch(t.Context(), *c.open(l.Position(p.LSN))); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c.writeSome(mk)
		if err := c.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l = wantWhole(t, c)
	if !l.OnPath(1, p.LSN) || l.OnPath(1, p.LSN+1) || !l.OnPath(2, p.LSN+1) || l.OnPath(3, p.LSN+1) {
		t.Error("OnPath takes what the history left for a part of it, or the reverse")
	}
}

// What the log had to give up is a gap, and no problem.
func TestGap(t *testing.T) {
	c, mk := newCopy(3, newMemory()), &maker{}
	for len(c.log) < 40 {
		c.writeSome(mk)
	}
	for _, after := range []ballast.LSN{0, 10, 20} {
		d := &delta.Delta{Volume: c.volume, Epoch: 1, After: after, Groups: []delta.Group{c.group(after, after+5)}}
		if c.shipper == nil {
			c.shipper, _ = Resume(t.Context(), c.config(), nil) // checked by OpenEpoch
			if err := c.shipper.OpenEpoch(t.Context(), *c.open(Position{})); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.shipper.Ship(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	l := mustLoad(t, c.store, c.sealer, c.volume, 0)
	if len(l.Problems) > 0 || len(l.Gaps) != 2 || l.Gaps[0] != (Gap{5, 10}) || l.Gaps[1] != (Gap{15, 20}) {
		t.Errorf("gaps = %v, problems %v; want 5–10, 15–20 and none", l.Gaps, l.Problems)
	}
	var gap *GapError
	if _, err := l.Between(0, 25); !errors.As(err, &gap) || gap.After != 5 || gap.To != 10 {
		t.Errorf("Between(0, 25) = %v; want that 6 to 10 are missing", err)
	}
	if s, err := l.Between(20, 25); err != nil || len(s) != 1 {
		t.Errorf("Between(20, 25) = %v, %v; want one segment", s, err)
	}
}

// The next look after the store lost an object finds it; then it goes on.
func TestShipFindsLoss(t *testing.T) {
	c, mk := newCopy(3, newMemory()), &maker{}
	for range 3 {
		c.writeSome(mk)
		if err := c.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	delete(c.store.objects, c.saved.Object)
	c.shipper = nil
	c.writeSome(mk)
	var lost *LostError
	if err := c.step(t.Context()); !errors.As(err, &lost) || len(lost.Objects) != 1 || lost.Objects[0] != c.saved.Object {
		t.Fatalf("Ship = %v; want that %s is lost", err, c.saved.Object)
	}
	if err := c.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := mustLoad(t, c.store, c.sealer, c.volume, 0)
	if len(l.Problems) != 1 || l.Tip().LSN != c.acked {
		t.Errorf("problems = %v; want the one object", l.Problems)
	}
}

// A first try that arrives after the second one, under the same name, replaces nothing that the
// next object already names.
func TestLateTry(t *testing.T) {
	c, mk := newCopy(3, newMemory()), &maker{}
	if err := c.step(t.Context()); err != nil { // opens the epoch
		t.Fatal(err)
	}
	for len(c.log) < 10 {
		c.writeSome(mk)
	}
	late := func(int) fault { return delayed }
	for after := ballast.LSN(0); after < 10; after += 5 {
		d := &delta.Delta{Volume: c.volume, Epoch: 1, After: after, Groups: []delta.Group{c.group(after, after+5)}}
		if after == 0 {
			if err := c.shipper.check(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.store.fault = late
			if err := c.shipper.Ship(t.Context(), d); !errors.Is(err, errStore) {
				t.Fatalf("Ship = %v; want %v", err, errStore)
			}
			c.store.fault = nil
		}
		if err := c.shipper.Ship(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	c.acked = 10
	before := c.store.clone()
	c.store.arrive()
	if !maps.EqualFunc(before.objects, c.store.objects, bytes.Equal) {
		t.Error("the first try replaced something")
	}
	wantWhole(t, c)
}
