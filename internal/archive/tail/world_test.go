package tail

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/delta"
)

// memory is a store in memory, and what went on its way to it and may arrive later.
type memory struct {
	objects map[string][]byte
	late    []func()
	fault   func(call int) fault // nil: none

	mu    sync.Mutex // guards calls, and the calls of fault: a Reader reads several objects at once
	calls int
}

type fault uint8

const (
	none      fault = iota
	refused         // an error, and nothing was done
	unheard         // an error, and it was done
	delayed         // an error, and it is done later, if it still can be
	forgotten       // acknowledged, and not done
)

var errStore = errors.New("the store does not answer")

func newMemory() *memory { return &memory{objects: map[string][]byte{}} }

// write carries out do under a fault.
func (m *memory) write(do func() error) error {
	switch m.strike() {
	case refused:
		return errStore
	case unheard:
		_ = do() // nobody hears how it went
		return errStore
	case delayed:
		m.late = append(m.late, func() { _ = do() }) // nor here
		return errStore
	case forgotten:
		return nil
	case none:
	}
	return do()
}

func (m *memory) arrive() {
	for _, do := range m.late {
		do()
	}
	m.late = nil
}

func (m *memory) Put(_ context.Context, name string, data []byte) error {
	return m.write(func() error { m.objects[name] = bytes.Clone(data); return nil })
}

func (m *memory) Create(_ context.Context, name string, data []byte) error {
	return m.write(func() error {
		if _, ok := m.objects[name]; ok {
			return fmt.Errorf("%s: %w", name, ballast.ErrExists)
		}
		m.objects[name] = bytes.Clone(data)
		return nil
	})
}

func (m *memory) Delete(_ context.Context, name string) error {
	return m.write(func() error { delete(m.objects, name); return nil })
}

func (m *memory) read() error {
	if m.strike() != none {
		return errStore
	}
	return nil
}

// strike says what goes wrong with the next call.
func (m *memory) strike() fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.fault == nil {
		return none
	}
	return m.fault(m.calls)
}

func (m *memory) Get(_ context.Context, name string, off, n int64) ([]byte, error) {
	if m.fault != nil { // else it is no call to be counted
		if err := m.read(); err != nil {
			return nil, err
		}
	}
	data, ok := m.objects[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ballast.ErrNotFound)
	}
	if n < 0 {
		n = int64(len(data)) - off
	}
	if off > int64(len(data)) || n > int64(len(data))-off {
		return nil, io.ErrUnexpectedEOF
	}
	return bytes.Clone(data[off : off+n]), nil
}

func (m *memory) List(_ context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		if err := m.read(); err != nil {
			yield(store.Object{}, err)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(m.objects)) {
			if strings.HasPrefix(name, prefix) && !yield(store.Object{Name: name, Size: int64(len(m.objects[name]))}, nil) {
				return
			}
		}
	}
}

func (*memory) Close() error { return nil }

// clone returns a copy without faults and without what is on its way.
func (m *memory) clone() *memory { return &memory{objects: maps.Clone(m.objects)} }

const worldBlocks = 24

// record is one write of the world: what a block holds from then on. 0: zeros.
type record struct {
	block int
	tag   uint64
	flush bool // a point
}

// content is a volume: a tag for each block.
type content [worldBlocks]uint64

func contentAt(log []record, lsn ballast.LSN) (c content) {
	for _, r := range log[:lsn] {
		c[r.block] = r.tag
	}
	return c
}

// copyOf is a copy of a volume on a node, with its log, and its writer.
type copyOf struct {
	name    string // of the node
	volume  ballast.VolumeID
	epoch   ballast.Epoch
	log     []record
	acked   ballast.LSN // shipped for sure
	saved   *State      // on the node's disk
	shipper *Shipper    // nil: it does not run
	store   *memory
	sealer  Sealer
	rng     *rand.Rand
}

// maker makes tags that are used once.
type maker struct{ tags uint64 }

func (c *copyOf) writeSome(mk *maker) {
	for range 1 + c.rng.IntN(9) {
		mk.tags++
		r := record{block: c.rng.IntN(worldBlocks), tag: mk.tags, flush: c.rng.IntN(3) == 0}
		if c.rng.IntN(5) == 0 {
			r.tag = 0
		}
		c.log = append(c.log, r)
	}
}

func (c *copyOf) config() Config {
	return Config{Store: c.store, Sealer: c.sealer, Volume: c.volume, Owner: "copy-" + c.name, Save: func(s State) error {
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		c.saved = new(State)
		return json.Unmarshal(text, c.saved)
	}}
}

func (c *copyOf) open(parent Position) *Open {
	return &Open{Epoch: c.epoch, Name: "db", Spec: ballast.DefaultVolumeSpec(), Parent: parent, Node: ballast.NodeID(c.name), Time: testTime}
}

// since returns what the log has behind after, cut by chance. Half of the groups end
// at flushes and are points.
func (c *copyOf) since(after ballast.LSN) *delta.Delta {
	if after >= ballast.LSN(len(c.log)) {
		return nil
	}
	last := after + 1 + ballast.LSN(c.rng.IntN(len(c.log)-int(after)))
	d := &delta.Delta{Volume: c.volume, Epoch: c.epoch, After: after}
	for at := after; at < last; {
		end := at + 1
		for end < last && (!c.log[end-1].flush || c.rng.IntN(2) == 0) {
			end++
		}
		d.Groups = append(d.Groups, c.group(at, end))
		at = end
	}
	return d
}

func (c *copyOf) group(after, last ballast.LSN) delta.Group {
	g := delta.Group{Last: last, Size: worldBlocks * ballast.BlockSize}
	if c.log[last-1].flush {
		g.Time = testTime.Add(time.Duration(last) * time.Second)
	}
	changed := map[int]uint64{}
	for _, r := range c.log[after:last] {
		changed[r.block] = r.tag
	}
	for _, b := range slices.Sorted(maps.Keys(changed)) {
		g.Runs = append(g.Runs, delta.Run{First: ballast.Block(b), Count: 1, Zero: changed[b] == 0})
		if tag := changed[b]; tag != 0 {
			g.Data = append(g.Data, tagged(tag)...)
		}
	}
	return g
}

func tagged(tag uint64) []byte {
	p := make([]byte, ballast.BlockSize)
	binary.LittleEndian.PutUint64(p, tag)
	return p
}

// step attaches if need be, and ships once.
func (c *copyOf) step(ctx context.Context) (err error) {
	if c.shipper == nil {
		if c.shipper, err = Resume(ctx, c.config(), c.saved); err != nil {
			c.shipper = nil
			return err
		}
	}
	if c.shipper.State().Epoch < c.epoch {
		if err := c.shipper.OpenEpoch(ctx, *c.open(Position{})); err != nil {
			return err
		}
	}
	d := c.since(c.shipper.State().Last)
	if d == nil {
		if err := c.shipper.Settle(ctx); err != nil {
			return err
		}
		c.acked = c.shipper.State().Last
		return nil
	}
	if err := c.shipper.Ship(ctx, d); err != nil {
		return err
	}
	if c.acked = c.shipper.State().Last; c.acked < d.Last() {
		return fmt.Errorf("Ship to LSN %d returned nil at %d", d.Last(), c.acked)
	}
	return nil
}

// restored is what a line gives who restores from the volume's beginning.
type restored struct {
	content map[ballast.LSN]content
	newest  ballast.LSN // the last group that can be reached
	err     error       // what stopped it there
}

func restore(ctx context.Context, r *Reader, l *Line) restored {
	out := restored{content: map[ballast.LSN]content{0: {}}}
	var c content
	for i := range l.Segments {
		s := &l.Segments[i]
		if s.Header.First > out.newest+1 {
			out.err = &GapError{After: out.newest, To: s.Header.First - 1}
			return out
		}
		if out.err = out.lay(ctx, r, s, &c); out.err != nil {
			return out
		}
	}
	return out
}

func (out *restored) lay(ctx context.Context, r *Reader, s *Segment, c *content) error {
	var data []byte
	for i := range s.Header.Frames {
		p, err := r.ReadFrame(ctx, s, i)
		if err != nil {
			return err
		}
		data = append(data, p...)
	}
	runs, err := s.Header.Runs()
	if err != nil {
		return err
	}
	for i, g := range s.Groups() {
		for _, run := range runs[i] {
			for b := run.First; b < run.First+ballast.Block(run.Count); b++ {
				if c[b] = 0; !run.Zero {
					c[b] = binary.LittleEndian.Uint64(data)
					data = data[ballast.BlockSize:]
				}
			}
		}
		out.content[g.Last], out.newest = *c, g.Last
	}
	return nil
}

// wantExact checks that what can be restored is what the log says.
func (out *restored) wantExact(t *testing.T, log []record) {
	t.Helper()
	for lsn, got := range out.content {
		if int(lsn) > len(log) || got != contentAt(log, lsn) {
			t.Fatalf("the volume at LSN %d is not what it was", lsn)
		}
	}
}
