package archive

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/retention"
	"github.com/ballast-io/ballast/internal/archive/tail"
)

// clone begins a volume as m was at one of its states; its bytes are the state's.
func (m *model) clone(seed uint64, id ballast.VolumeID) *model {
	m.t.Helper()
	plan, err := m.archive.Plan(m.t.Context(), m.id, When{})
	m.must(err)
	c := newModel(m.t, m.archive, seed, id, len(m.data)/ballast.ChunkSize)
	c.data, c.sums, c.now = slices.Clone(m.data), slices.Clone(m.sums), m.now
	c.origin = &tail.Origin{Volume: m.id, Point: plan.Point}
	c.open()
	return c
}

// A volume that began as another one is that, until it was changed; and what it began
// as is kept for it (H4).
func TestVolumeThatBeganAsAnother(t *testing.T) {
	a := newArchive(t, newMemory())
	first := newModel(t, a, 1, volumeID(1), 16)
	first.open()
	for range 60 {
		first.step()
	}
	first.ship()
	second := first.clone(2, volumeID(2))
	second.write(100, 300)
	second.ship()
	third := second.clone(3, volumeID(3))
	third.discard(0, chunkBlocks)
	third.ship()
	first.policy = retention.Policy{{Kind: retention.AnySecond, For: time.Minute}}
	for range 3 {
		first.write(first.extent())
		first.base(true)
		first.retain()
	}
	for _, m := range []*model{first, second, third} {
		m.checkMoments(4, 10)
		want := m.state()
		mustRestore(t, a, m, &want)
	}
	third.base(true) // and so a base of a volume that began as another one is whole
	want := third.state()
	mustRestore(t, a, third, &want)
	found, err := a.Volumes(t.Context())
	if err != nil || len(found) != 3 {
		t.Fatalf("volumes = %+v, %v", found, err)
	}
	for i, m := range []*model{first, second, third} {
		if f := found[i]; f.ID != m.id || f.Name != m.name || !f.Spec.Equal(m.spec()) || f.Newest.LSN != m.lsn || f.Err != nil {
			t.Errorf("found %+v; want %s at LSN %d", f, m.name, m.lsn)
		}
	}
}

// What a volume began as stays, though its origin has left that line since.
func TestOriginThatWasRestoredInPlace(t *testing.T) {
	a := newArchive(t, newMemory())
	m := newModel(t, a, 1, volumeID(1), 16)
	m.open()
	m.write(0, 100)
	m.ship()
	back := m.shipper.State().Position()
	was, lsn, changed := slices.Clone(m.data), m.lsn, slices.Clone(m.changed)
	m.write(200, 100)
	m.ship()
	c := m.clone(2, volumeID(2))
	// In its place: the next epoch continues behind an older record.
	m.epoch++
	m.tick()
	m.must(m.shipper.OpenEpoch(t.Context(), tail.Open{Epoch: m.epoch, Name: m.name, Spec: m.spec(), Node: "n1", Time: m.now, Parent: back}))
	m.data, m.lsn, m.shipped, m.changed = was, lsn, lsn, changed
	clear(m.sums)
	m.write(900, 10)
	m.ship()
	m.policy = retention.Policy{{Kind: retention.AnySecond, For: time.Minute}}
	m.base(false)
	m.retain()
	for _, m := range []*model{m, c} {
		want := m.state()
		if m == c {
			want = m.states[0]
		}
		mustRestore(t, a, m, &want)
	}
}

// Volumes that say that they began as each other are an error, and not a loop.
func TestOriginsInACircle(t *testing.T) {
	a := newArchive(t, newMemory())
	for i := range 2 {
		m := newModel(t, a, 1, volumeID(i), 16)
		m.origin = &tail.Origin{Volume: volumeID(1 - i), Point: tail.Point{Time: clock(0), LSN: 0, Epoch: 1, Size: int64(len(m.data))}}
		m.open()
	}
	var gap *GapError
	if plan, err := a.Plan(t.Context(), volumeID(0), When{}); !errors.As(err, &gap) {
		t.Errorf("plan = %+v, %v; want a gap", plan, err)
	}
}
