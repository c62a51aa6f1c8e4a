package archive

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/repository"
	"github.com/ballast-io/ballast/internal/archive/retention"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/delta"
)

// The passwords of the golden archive, and of the empty one whose key is cheap to derive: N=2,
// where a real one takes a third of a second, and ten under the race detector.
const (
	testPassword  = "correct horse"
	emptyPassword = "of the tests"
)

// newArchive makes an archive in a store.
func newArchive(t testing.TB, st store.Store) *Archive {
	t.Helper()
	empty := os.DirFS("testdata/empty")
	err := fs.WalkDir(empty, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(empty, name)
		if err != nil {
			return err
		}
		return st.Put(t.Context(), name, data)
	})
	if err != nil {
		t.Fatal(err)
	}
	return openArchive(t, st, emptyPassword)
}

// openArchive opens the archive in a store.
func openArchive(t testing.TB, st store.Store, password string) *Archive {
	t.Helper()
	repo, err := repository.Open(t.Context(), st, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return New(st, repo, "ballast test")
}

// model is a volume and everything it ever was, as far as the archive should know.
type model struct {
	t       testing.TB
	rng     *rand.Rand
	archive *Archive
	id      ballast.VolumeID
	name    string
	origin  *tail.Origin

	epoch   ballast.Epoch
	lsn     ballast.LSN
	now     time.Time
	data    []byte
	changed []ballast.LSN          // per chunk, as an engine knows it
	sums    [][32]byte             // per chunk; zero: not known
	dirty   map[ballast.Block]bool // since the last group; true: discarded
	groups  []delta.Group          // not shipped
	shipped ballast.LSN
	shipper *tail.Shipper
	states  []state // that the archive should have, by LSN
	pending []state // those of groups
	bases   []*Base
	policy  retention.Policy // nil: everything is kept
	thinned time.Time        // when it was applied last
}

// state is a volume at one point.
type state struct {
	point tail.Point
	sums  [][32]byte // per chunk
}

func volumeID(n int) ballast.VolumeID { return ballast.VolumeID(fmt.Sprintf("%026d", n)) }

// newModel begins a volume of so many chunks.
func newModel(t testing.TB, a *Archive, seed uint64, id ballast.VolumeID, chunks int) *model {
	t.Helper()
	m := &model{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), archive: a, id: id, name: "db-" + string(id[20:]),
		now: clock(0), dirty: map[ballast.Block]bool{},
		data: make([]byte, chunks*ballast.ChunkSize), changed: make([]ballast.LSN, chunks), sums: make([][32]byte, chunks),
	}
	m.resume()
	return m
}

func (m *model) resume() {
	m.t.Helper()
	s, err := tail.Resume(m.t.Context(), tail.Config{
		Store: m.archive.store, Sealer: m.archive.Tail(), Volume: m.id, Owner: "n1-" + string(m.id), Save: func(tail.State) error { return nil },
	}, nil)
	m.must(err)
	m.shipper = s
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) spec() ballast.VolumeSpec {
	s := ballast.DefaultVolumeSpec()
	s.Size = int64(len(m.data))
	return s
}

// open begins the next epoch.
func (m *model) open() {
	m.t.Helper()
	m.ship()
	m.epoch++
	m.tick()
	m.must(m.shipper.OpenEpoch(m.t.Context(), tail.Open{Epoch: m.epoch, Name: m.name, Spec: m.spec(), Node: "n1", Time: m.now, Origin: m.origin}))
	if m.epoch == 1 {
		m.states = append(m.states, m.state())
	}
}

// unit is between two flushes, about: an hour is a workload of its own.
const unit = time.Minute

func (m *model) tick() { m.now = m.now.Add(time.Duration(1+m.rng.IntN(3)) * unit) }

// state returns the present one.
func (m *model) state() state {
	s := state{point: tail.Point{Time: m.now, LSN: m.lsn, Epoch: m.epoch, Size: int64(len(m.data))}}
	for i := range m.sums {
		if m.sums[i] == ([32]byte{}) {
			m.sums[i] = sha256.Sum256(m.data[i*ballast.ChunkSize : (i+1)*ballast.ChunkSize])
		}
	}
	s.sums = slices.Clone(m.sums)
	return s
}

// touch notes that blocks change with the next record.
func (m *model) touch(first, count int, zero bool) {
	m.lsn++
	for b := first; b < first+count; b++ {
		m.dirty[ballast.Block(b)] = zero
		m.changed[b/chunkBlocks], m.sums[b/chunkBlocks] = m.lsn, [32]byte{}
	}
}

func (m *model) write(first, count int) {
	m.touch(first, count, false)
	p := m.data[first*ballast.BlockSize : (first+count)*ballast.BlockSize]
	for i := 0; i < len(p); i += 512 {
		binary.LittleEndian.PutUint64(p[i:], uint64(m.lsn)<<20|uint64(i))
	}
}

func (m *model) discard(first, count int) {
	m.touch(first, count, true)
	clear(m.data[first*ballast.BlockSize : (first+count)*ballast.BlockSize])
}

// extent returns blocks by chance: often few, sometimes whole chunks.
func (m *model) extent() (first, count int) {
	blocks := len(m.data) / ballast.BlockSize
	if m.rng.IntN(4) == 0 {
		first = m.rng.IntN(blocks/chunkBlocks) * chunkBlocks
		return first, chunkBlocks * (1 + m.rng.IntN((blocks-first)/chunkBlocks))
	}
	first = m.rng.IntN(blocks)
	return first, 1 + m.rng.IntN(min(40, blocks-first))
}

func (m *model) grow() {
	m.data = append(m.data, make([]byte, ballast.ChunkSize)...)
	m.changed, m.sums = append(m.changed, 0), append(m.sums, [32]byte{})
}

// flush ends a group; a point, if a restore can stop there.
func (m *model) flush(isPoint bool) {
	m.tick()
	if len(m.dirty) == 0 {
		return
	}
	g := delta.Group{Last: m.lsn, Size: int64(len(m.data))}
	if isPoint {
		g.Time = m.now
		m.pending = append(m.pending, m.state())
	}
	for _, b := range slices.Sorted(maps.Keys(m.dirty)) {
		zero := m.dirty[b]
		if n := len(g.Runs); n > 0 && g.Runs[n-1].Zero == zero && g.Runs[n-1].First+ballast.Block(g.Runs[n-1].Count) == b {
			g.Runs[n-1].Count++
		} else {
			g.Runs = append(g.Runs, delta.Run{First: b, Count: 1, Zero: zero})
		}
		if !zero {
			g.Data = append(g.Data, m.data[b*ballast.BlockSize:(b+1)*ballast.BlockSize]...)
		}
	}
	clear(m.dirty)
	m.groups = append(m.groups, g)
}

// ship ships what is flushed.
func (m *model) ship() {
	m.t.Helper()
	m.flush(true)
	if len(m.groups) == 0 {
		return
	}
	m.must(m.shipper.Ship(m.t.Context(), &delta.Delta{Volume: m.id, Epoch: m.epoch, After: m.shipped, Groups: m.groups}))
	m.shipped, m.groups = m.lsn, nil
	m.states, m.pending = append(m.states, m.pending...), nil
}

// base takes a base snapshot; with a parent, the newest one.
func (m *model) base(incremental bool, tags ...string) *Base {
	m.t.Helper()
	m.flush(true)
	m.tick()
	b, err := m.tryBase(m.t.Context(), incremental, tags...)
	m.must(err)
	m.based(b)
	return b
}

func (m *model) tryBase(ctx context.Context, incremental bool, tags ...string) (*Base, error) {
	var parent *Base
	if incremental && len(m.bases) > 0 {
		parent = m.bases[len(m.bases)-1]
	}
	return m.archive.WriteBase(ctx, m.source(parent), Volume{Name: m.name, Spec: m.spec(), Node: "n1"}, parent, tags, nil)
}

// based notes that a base was taken of the present state.
func (m *model) based(b *Base) {
	m.bases = append(m.bases, b)
	m.states = append(m.states, m.state())
}

// chunkSource is a snapshot of a model, as an engine hands it out.
type chunkSource struct {
	info SnapshotInfo
	data []byte
	todo []int
}

func (m *model) source(parent *Base) *chunkSource {
	s := &chunkSource{data: slices.Clone(m.data), info: SnapshotInfo{Volume: m.id, LSN: m.lsn, Epoch: m.epoch, Size: int64(len(m.data)), Time: m.now}}
	if parent != nil {
		s.info.Since = parent.Point.LSN
	}
	for i, lsn := range m.changed {
		if lsn > s.info.Since || m.origin != nil && parent == nil {
			s.todo = append(s.todo, i)
		}
	}
	return s
}

func (s *chunkSource) Info() SnapshotInfo { return s.info }

func (s *chunkSource) Next(context.Context) (int, []byte, error) {
	if len(s.todo) == 0 {
		return 0, nil, io.EOF
	}
	i := s.todo[0]
	s.todo = s.todo[1:]
	data := s.data[i*ballast.ChunkSize : (i+1)*ballast.ChunkSize]
	if bytes.Equal(data, zeroChunk) {
		return i, nil, nil
	}
	return i, data, nil
}

// step does something by chance.
func (m *model) step() {
	m.t.Helper()
	switch n := m.rng.IntN(100); {
	case n < 50:
		m.write(m.extent())
	case n < 62:
		m.discard(m.extent())
	case n < 80:
		m.flush(m.rng.IntN(8) > 0)
	case n < 90:
		m.ship()
	case n < 94:
		m.base(m.rng.IntN(4) > 0)
	case n < 96 && len(m.data) < 22*ballast.ChunkSize:
		m.grow()
	case n < 98:
		m.open()
	case m.policy != nil:
		m.retain()
	}
}

// retain applies the policy.
func (m *model) retain() {
	m.t.Helper()
	r, err := m.archive.PlanRetention(m.t.Context(), m.id, m.policy, m.now, nil)
	m.must(err)
	m.must(m.archive.Retain(m.t.Context(), r))
	m.retained(r)
}

// retained notes what may be gone.
func (m *model) retained(r *Retention) {
	m.thinned = m.now
	m.bases = slices.DeleteFunc(m.bases, func(b *Base) bool { return slices.Contains(r.bases, b.Snapshot) })
}

// mustHave reports whether the policy keeps a moment.
func (m *model) mustHave(moment time.Time) bool {
	return m.thinned.IsZero() || !moment.Before(m.thinned.Add(-m.policy[0].For))
}

// at returns the state that a restore to a moment should find; nil: it is before all.
func (m *model) at(moment time.Time) *state {
	for i := len(m.states) - 1; i >= 0; i-- {
		if !m.states[i].point.Time.After(moment) {
			return &m.states[i]
		}
	}
	return nil
}

// sortStates sorts what should be there as the archive does.
func (m *model) sortStates() {
	slices.SortStableFunc(m.states, func(a, b state) int {
		return cmp.Or(cmp.Compare(a.point.LSN, b.point.LSN), cmp.Compare(a.point.Size, b.point.Size))
	})
}

// compare reports how a plan's volume differs from a state; empty: not at all.
func compare(ctx context.Context, a *Archive, plan *Plan, want *state) error {
	src, err := a.Source(ctx, plan, nil)
	if err != nil {
		return err
	}
	if src.Size() != want.point.Size || src.Point().LSN != want.point.LSN {
		return fmt.Errorf("point %+v; want %+v", src.Point(), want.point)
	}
	zeros := sha256.Sum256(zeroChunk)
	return src.Stream(ctx, func(chunk int, data []byte) error {
		sum := zeros
		if data != nil {
			sum = sha256.Sum256(data)
		}
		if sum != want.sums[chunk] {
			return &differs{chunk, plan}
		}
		return nil
	}, nil)
}

// differs is the one error that must never be: bytes that never were.
type differs struct {
	chunk int
	plan  *Plan
}

func (d *differs) Error() string {
	return fmt.Sprintf("chunk %d differs at LSN %d: %q", d.chunk, d.plan.Point.LSN, d.plan.Lines())
}
