package tail

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
)

// world is a volume in the hands of one writer after the other, with everything that can
// happen to them.
type world struct {
	rng    *rand.Rand
	mk     *maker
	holder *copyOf   // whose epoch is the highest
	former []*copyOf // they do not know yet
	heads  map[string][][]byte
	faulty bool
}

func newWorld(seed uint64, volume ballast.VolumeID, sealer Sealer) *world {
	c := newCopy(seed, newMemory())
	c.volume, c.sealer = volume, sealer
	return &world{rng: rand.New(rand.NewPCG(seed, 1)), mk: &maker{}, holder: c, heads: map[string][][]byte{}}
}

// turn does one thing.
func (w *world) turn(t *testing.T) {
	t.Helper()
	c := w.holder
	switch w.rng.IntN(14) {
	case 0:
		w.drain(t)
		c.epoch++
		c.shipper = nil
	case 1:
		w.takeOver(t)
	case 2:
		w.goBack(t)
	case 3: // a crash
		if c.shipper = nil; w.rng.IntN(2) == 0 {
			c.saved = nil
		}
		c.store.arrive()
	default:
		c.writeSome(w.mk)
		w.ship(t, c)
	}
	for _, f := range w.former {
		f.writeSome(w.mk)
		if err := f.step(t.Context()); err != nil && !errors.Is(err, ErrFenced) && !errors.Is(err, errStore) {
			t.Fatal(err)
		}
	}
	w.noteHeads()
}

func (w *world) noteHeads() {
	for name, data := range w.holder.store.objects {
		if n := len(w.heads[name]); ParseName(name).Kind == HeadKind && (n == 0 || string(w.heads[name][n-1]) != string(data)) {
			w.heads[name] = append(w.heads[name], data)
		}
	}
}

// ship ships once, on a store that fails now and then.
func (w *world) ship(t *testing.T, c *copyOf) {
	t.Helper()
	if w.faulty {
		c.store.fault = func(int) fault { return fault(max(0, w.rng.IntN(16)-12)) % forgotten }
	}
	err := c.step(t.Context())
	if c.store.fault = nil; err != nil && !errors.Is(err, errStore) {
		t.Fatal(err)
	}
}

// drain ships everything, as the next epoch must not be opened before.
func (w *world) drain(t *testing.T) {
	t.Helper()
	for range len(w.holder.log) + 2 {
		if err := w.holder.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if w.holder.acked < ballast.LSN(len(w.holder.log)) {
		t.Fatalf("shipped LSN %d of %d", w.holder.acked, len(w.holder.log))
	}
}

func (w *world) takeOver(t *testing.T) {
	t.Helper()
	c := w.holder
	if c.shipper == nil {
		return
	}
	acked := c.acked
	b := takeOver(t, c, c.name+"x", c.epoch+1+ballast.Epoch(w.rng.IntN(2)))
	b.acked = acked
	if len(b.log) < int(acked) {
		t.Fatalf("who takes over finds %d records; %d were acknowledged", len(b.log), acked)
	}
	w.holder, w.former = b, append(w.former, c)
	w.former = w.former[max(0, len(w.former)-2):]
}

// goBack restores the volume in its place to an older point.
func (w *world) goBack(t *testing.T) {
	t.Helper()
	c := w.holder
	l := mustLoad(t, c.store.clone(), c.sealer, c.volume, 0)
	points := l.Points()
	if c.shipper == nil || len(points) == 0 || c.shipper.State().Epoch != c.epoch {
		return
	}
	p := points[w.rng.IntN(len(points))]
	c.log, c.acked, c.epoch = slices.Clone(c.log[:p.LSN]), p.LSN, c.epoch+1
	if err := c.shipper.OpenEpoch(t.Context(), *c.open(l.Position(p.LSN))); err != nil {
		t.Fatal(err)
	}
}

// TestModel lets random writers, in any order of attaches, takeovers, restores in place, crashes
// and errors, ship to one volume. After each turn the line is what the last one holds (T1–T4).
func TestModel(t *testing.T) {
	for seed := range max(4, 25/share) {
		w := newWorld(uint64(seed), testVolume, newSealer(1))
		w.faulty = true
		for turn := range 60 {
			w.turn(t)
			if t.Failed() {
				t.Fatalf("seed %d, turn %d", seed, turn)
			}
			w.wantWhole(t)
		}
		w.retain(t)
	}
}

func (w *world) wantWhole(t *testing.T) *Line {
	t.Helper()
	if w.holder.shipper == nil || w.holder.shipper.State().Epoch != w.holder.epoch {
		return nil // the highest epoch in the archive is a former one's
	}
	return wantWhole(t, w.holder)
}

// retain deletes what a base snapshot at a random LSN makes obsolete, up to a random
// object: what is left is a line from there on, and nothing is wrong with it.
func (w *world) retain(t *testing.T) {
	t.Helper()
	w.drain(t)
	l := wantWhole(t, w.holder)
	upto := ballast.LSN(w.rng.IntN(int(l.Tip().LSN) + 1))
	names := l.Obsolete(upto)
	for i := range len(names) + 1 {
		left := mustLoad(t, w.holder.store, w.holder.sealer, w.holder.volume, 0)
		if len(left.Problems) > 0 {
			t.Fatalf("after %d of %d deletions up to LSN %d: %v", i, len(names), upto, &left.Problems[0])
		}
		if _, err := left.Between(upto, l.Tip().LSN); err != nil || left.Tip() != l.Tip() {
			t.Fatalf("after %d of %d deletions up to LSN %d: %v", i, len(names), upto, err)
		}
		if i < len(names) {
			delete(w.holder.store.objects, names[i])
		}
	}
	if from := mustLoad(t, w.holder.store, w.holder.sealer, w.holder.volume, upto); len(from.Problems) > 0 {
		t.Fatalf("loaded from LSN %d: %v", upto, &from.Problems[0])
	}
}

// mutation changes an archive. It reports false when it found nothing to change.
type mutation struct {
	name string
	// forgets: it takes back what head says, so that something else that is lost goes unnoticed.
	forgets bool
	do      func(w, other *world, m *memory, rng *rand.Rand) bool
}

func pick(m *memory, rng *rand.Rand, volume ballast.VolumeID, kinds ...Kind) string {
	var names []string
	for name := range m.objects {
		if n := ParseName(name); n.Volume == volume && (len(kinds) == 0 || slices.Contains(kinds, n.Kind)) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return names[rng.IntN(len(names))]
}

// otherName is the name of an object that is there, or could be.
func otherName(m *memory, rng *rand.Rand, volume ballast.VolumeID) string {
	n := ParseName(pick(m, rng, volume, SegmentKind))
	switch rng.IntN(4) {
	case 0:
		n.Last += ballast.LSN(rng.IntN(9))
	case 1:
		n.First, n.Last = n.Last+1, n.Last+1+ballast.LSN(rng.IntN(9))
	case 2:
		n.Epoch += ballast.Epoch(rng.IntN(3))
	default:
		return pick(m, rng, volume)
	}
	return n.String()
}

var mutations = []mutation{
	{"truncate", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		name := pick(m, rng, w.holder.volume)
		m.objects[name] = m.objects[name][:rng.IntN(len(m.objects[name]))]
		return true
	}},
	{"append", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		name := pick(m, rng, w.holder.volume)
		m.objects[name] = append(slices.Clone(m.objects[name]), byte(rng.Uint32()))
		return true
	}},
	{"flip", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		name := pick(m, rng, w.holder.volume)
		data := slices.Clone(m.objects[name])
		data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
		m.objects[name] = data
		return true
	}},
	{"drop", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		delete(m.objects, pick(m, rng, w.holder.volume))
		return true
	}},
	{"duplicate", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		m.objects[otherName(m, rng, w.holder.volume)] = m.objects[pick(m, rng, w.holder.volume)]
		return true
	}},
	{"rename", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		from, to := pick(m, rng, w.holder.volume), otherName(m, rng, w.holder.volume)
		data := m.objects[from]
		delete(m.objects, from)
		m.objects[to] = data
		return true
	}},
	{"swap", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		a, b := pick(m, rng, w.holder.volume), pick(m, rng, w.holder.volume)
		m.objects[a], m.objects[b] = m.objects[b], m.objects[a]
		return a != b
	}},
	{"replay an older epoch", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		from := ParseName(pick(m, rng, w.holder.volume, SegmentKind, OpenKind, HeadKind))
		to := from
		to.Epoch = w.holder.epoch
		m.objects[to.String()] = m.objects[from.String()]
		return from.Epoch != to.Epoch
	}},
	{"replay an older epoch as a higher one", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		epoch := ParseName(pick(m, rng, w.holder.volume, OpenKind)).Epoch
		for name, data := range m.clone().objects {
			if n := ParseName(name); n.Epoch == epoch && n.Volume == w.holder.volume {
				n.Epoch = w.holder.epoch + 1
				m.objects[n.String()] = data
			}
		}
		return true
	}},
	{"mix in another volume", false, func(w, other *world, m *memory, rng *rand.Rand) bool {
		from := pick(other.holder.store, rng, other.holder.volume)
		to := otherName(m, rng, w.holder.volume)
		if rng.IntN(2) == 0 {
			to = strings.Replace(from, string(other.holder.volume), string(w.holder.volume), 1)
		}
		m.objects[to] = other.holder.store.objects[from]
		return true
	}},
	{"stale head", true, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		name := pick(m, rng, w.holder.volume, HeadKind)
		if name == "" || len(w.heads[name]) < 2 {
			return false
		}
		m.objects[name] = w.heads[name][rng.IntN(len(w.heads[name])-1)]
		return true
	}},
	{"junk", false, func(w, _ *world, m *memory, rng *rand.Rand) bool {
		junk := make([]byte, rng.IntN(200))
		for i := range junk {
			junk[i] = byte(rng.Uint32())
		}
		m.objects[otherName(m, rng, w.holder.volume)] = junk
		return true
	}},
}

// TestMutations changes clean archives, once or several times each. Whatever can be restored is
// exactly what was, and if that is less than there was, it is said (T1, T2). An archive
// that was not changed has nothing wrong.
func TestMutations(t *testing.T) {
	clean, perClean, several := 1000/share, 10, 2
	if testing.Short() {
		clean = 60
	}
	sealer := newSealer(1)
	other := newWorld(1<<20, "another0another0another0an", sealer)
	for range 12 {
		other.turn(t)
	}
	counts := map[string]int{}
	for seed := range uint64(clean) {
		w := newWorld(seed, testVolume, sealer)
		for range 8 + w.rng.IntN(12) {
			w.turn(t)
		}
		w.drain(t)
		want := wantWhole(t, w.holder) // no false alarm
		for i := range perClean {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			mutate(t, w, other, want, rng, 1, counts)
			if i < several {
				mutate(t, w, other, want, rng, 2+rng.IntN(3), counts)
			}
			if t.Failed() {
				t.Fatalf("seed %d, mutation %d", seed, i)
			}
		}
	}
	t.Logf("%v", counts)
}

func mutate(t *testing.T, w, other *world, want *Line, rng *rand.Rand, times int, counts map[string]int) {
	t.Helper()
	m := w.holder.store.clone()
	var done []string
	forgets := 0
	for len(done) < times {
		mu := mutations[rng.IntN(len(mutations))]
		if len(m.objects) > 0 && mu.do(w, other, m, rng) {
			done = append(done, mu.name)
			if mu.forgets {
				forgets++
			}
		}
	}
	l := mustLoad(t, m, w.holder.sealer, w.holder.volume, 0)
	got := restore(t.Context(), NewReader(m, w.holder.sealer), l)
	lost := len(l.Problems) > 0 || got.err != nil
	switch {
	case l.lost: // said, and the history is another one; see followLost
	case got.newest > want.Tip().LSN:
		t.Errorf("%v: restored LSN %d; the newest was %d", done, got.newest, want.Tip().LSN)
	case got.newest < want.Tip().LSN && !lost && (forgets == 0 || len(done) == 1):
		t.Errorf("%v: restored only LSN %d of %d, and nothing says so", done, got.newest, want.Tip().LSN)
	}
	if gap := (*GapError)(nil); errors.As(got.err, &gap) && gap.After > 0 && len(l.Problems) == 0 && !slices.Contains(l.Gaps, Gap{gap.After, gap.To}) {
		t.Errorf("%v: %v, and no problem says so", done, gap)
	}
	if l.lost && len(l.Problems) == 0 {
		t.Errorf("%v: the way back is lost, and problems are %v", done, l.Problems)
	}
	if !l.lost && (l.Epoch >= w.holder.epoch || times == 1) {
		got.wantExact(t, w.holder.log)
	}
	for _, p := range l.Problems {
		if p.Newest != nil && !slices.Contains(want.Points(), *p.Newest) && l.Epoch == want.Epoch && !l.lost {
			t.Errorf("%v: the newest point before %v never was", done, &p)
		}
	}
	switch {
	case lost:
		counts["detected"]++
	case got.newest < want.Tip().LSN:
		counts["exact and earlier"]++
	default:
		counts["exact and whole"]++
	}
	if t.Failed() {
		t.Logf("%v; problems %v; %v", done, l.Problems, got.err)
	}
}
