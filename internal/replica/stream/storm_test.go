package stream_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// model knows what every block held after every record, and what was acknowledged.
type model struct {
	writes []write // LSN 1 first
	acked  ballast.LSN
}

type write struct {
	block int
	tag   byte // 0: a discard
}

// after is the volume after record lsn.
func (m *model) after(lsn ballast.LSN) []byte {
	p := make([]byte, testSize)
	for _, w := range m.writes[:lsn] {
		copy(p[w.block*ballast.BlockSize:], block(w.tag))
	}
	return p
}

// storm is a cluster that goes through a lot.
type storm struct {
	*cluster
	model
	rng   *rand.Rand
	acks  int // flushes acknowledged, over all
	kills int
}

// mortal is a leader whose node can lose its power at any operation of its disk.
type mortal struct {
	*leader
	at    *node
	dead  atomic.Bool
	after atomic.Pointer[crashfs.FS] // the disk, when the power is back
}

// TestStorm cuts connections at any byte and the power of leaders and followers at any
// operation of their disks, and lets another copy lead: what was acknowledged is never lost
// (G1, R1), what is there is a prefix (G2), and in the end all copies are the same (G4).
func TestStorm(t *testing.T) {
	seeds, rounds := storms, 8
	if testing.Short() {
		seeds = min(seeds, 4)
	}
	first := uint64(1)
	if text := os.Getenv("BALLAST_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, seeds = n, 1
	}
	acks, kills := 0, 0
	for i := range seeds {
		seed := first + uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStorm(t, seed)
				for range rounds {
					s.round()
				}
				s.calm()
				acks, kills = acks+s.acks, kills+s.kills
			})
		})
	}
	// So that it does not pass because nothing happened.
	if !t.Failed() && (acks < 20*seeds || kills < seeds) {
		t.Errorf("%d seeds: %d flushes acknowledged, %d nodes killed; that is too few to mean anything", seeds, acks, kills)
	}
}

func newStorm(t *testing.T, seed uint64) *storm {
	names := []ballast.NodeID{"n1", "n2", "n3"}
	s := &storm{cluster: newCluster(t, names...), rng: rand.New(rand.NewPCG(seed, 1))}
	var mu sync.Mutex
	cuts := rand.New(rand.NewPCG(seed, 2))
	s.cut = func(c net.Conn) net.Conn {
		mu.Lock()
		defer mu.Unlock()
		if cuts.IntN(3) == 0 {
			return c
		}
		return &fragile{Conn: c, left: int64(cuts.IntN(1 << (6 + cuts.IntN(18))))}
	}
	return s
}

// fragile is a connection that breaks after some bytes.
type fragile struct {
	net.Conn
	mu   sync.Mutex
	left int64
}

// Write breaks in the middle.
func (f *fragile) Write(p []byte) (int, error) {
	f.mu.Lock()
	n := min(int64(len(p)), f.left)
	f.left -= n
	f.mu.Unlock()
	if n == int64(len(p)) {
		return f.Conn.Write(p)
	}
	done, err := f.Conn.Write(p[:n])
	return done, errors.Join(err, f.Close(), net.ErrClosed)
}

// round has some node lead for a while, and end in some way.
func (s *storm) round() {
	m := s.record.members()
	at := s.nodes[m.InSync[s.rng.IntN(len(m.InSync))]]
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		if n := s.nodes[name]; n.r == nil {
			s.mu.Lock()
			s.receive(n)
			s.mu.Unlock()
		}
	}
	l := s.begin(at)
	s.verify(l)
	for range 5 + s.rng.IntN(60) {
		s.step(l)
	}
	s.finish(l)
}

// begin leads, on a node that may die.
func (s *storm) begin(at *node) *mortal {
	l := &mortal{at: at}
	l.leader = s.lead(at)
	if s.rng.IntN(2) == 0 {
		s.doom(at.disk.(*crashfs.FS), 1+s.rng.IntN(200), &l.dead, func(after *crashfs.FS) { l.after.Store(after) })
	}
	return l
}

// doom cuts the power at the disk's n-th operation from now: first nothing leaves the machine
// any more, and then comes what the disk is left with.
func (s *storm) doom(disk *crashfs.FS, n int, dead *atomic.Bool, then func(after *crashfs.FS)) {
	rng := rand.New(rand.NewPCG(s.rng.Uint64(), 3))
	var count atomic.Int64
	disk.BeforeEach(func(int) {
		if count.Add(1) == int64(n) {
			dead.Store(true)
			then(disk.PowerCut(rng))
		}
	})
}

// step does one thing to the volume or to the cluster.
func (s *storm) step(l *mortal) {
	switch n := s.rng.IntN(100); {
	case n < 60:
		s.write(l)
	case n < 92:
		s.flush(l)
	case n < 95:
		s.restart(l)
	case n < 98:
		s.killFollower(l)
	default:
		s.settle()
	}
}

func (s *storm) write(l *mortal) {
	w := write{s.rng.IntN(int(testSize / ballast.BlockSize)), byte(s.rng.IntN(256))}
	var err error
	off := int64(w.block) * ballast.BlockSize
	s.writes = append(s.writes, w)
	if w.tag == 0 {
		err = l.v.Discard(off, ballast.BlockSize)
	} else {
		_, err = l.v.WriteAt(block(w.tag), off)
	}
	if err != nil {
		s.t.Fatalf("write: %v", err)
	}
}

// flush counts as acknowledged only when the power was still there afterwards.
func (s *storm) flush(l *mortal) {
	promised := ballast.LSN(len(s.writes))
	err := l.v.Flush()
	switch {
	case err != nil:
		s.t.Fatalf("flush: %v", err)
	case !l.dead.Load():
		s.acked, s.acks = promised, s.acks+1
	}
}

func (s *storm) others(l *mortal) *node {
	var list []*node
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		if n := s.nodes[name]; n != l.at {
			list = append(list, n)
		}
	}
	return list[s.rng.IntN(len(list))]
}

// restart ends an agent, and begins it anew.
func (s *storm) restart(l *mortal) {
	n := s.others(l)
	n.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receive(n)
}

// killFollower cuts a follower's power at some operation that is about to come, or now.
func (s *storm) killFollower(l *mortal) {
	n := s.others(l)
	disk := n.disk.(*crashfs.FS)
	var after atomic.Pointer[crashfs.FS]
	s.doom(disk, 1+s.rng.IntN(20), n.dead, func(d *crashfs.FS) { after.Store(d) })
	s.write(l)
	s.flush(l)
	disk.BeforeEach(nil)
	if !n.dead.Swap(true) { // nothing went there
		after.Store(disk.PowerCut(s.rng))
	}
	s.kills++
	n.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until("a power cut", func() bool { return after.Load() != nil })
	n.disk = after.Load()
	s.receive(n)
}

// settle waits until all are in sync.
func (s *storm) settle() {
	s.inSync(slices.Sorted(maps.Keys(s.nodes))...)
}

// finish ends the leader: in good order, or by what is left of its disk.
func (s *storm) finish(l *mortal) {
	disk := l.at.disk.(*crashfs.FS)
	disk.BeforeEach(nil)
	if !l.dead.Load() && s.rng.IntN(2) == 0 {
		l.close(s.t)
		s.acked = ballast.LSN(len(s.writes))
		return
	}
	if !l.dead.Swap(true) {
		l.after.Store(disk.PowerCut(s.rng))
	}
	s.kills++
	l.stop()
	_ = l.v.Close() // it is dead
	s.until("a power cut", func() bool { return l.after.Load() != nil })
	l.at.disk = l.after.Load()
	if l.at.r != nil {
		l.at.stop()
		l.at.r = nil
	}
	if s.rng.IntN(2) == 0 {
		s.record.drop(l.at.name) // somebody else claims
	}
}

// drop takes a node out of the in-sync set, when it is not the last one.
func (r *record) drop(n ballast.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.m.InSync) > 1 && slices.Contains(r.m.InSync, n) {
		r.m.InSync = slices.DeleteFunc(slices.Clone(r.m.InSync), func(o ballast.NodeID) bool { return o == n })
		r.m.Revision++
	}
}

// verify holds a volume that was just opened against the model, and cuts what nobody has
// any more.
func (s *storm) verify(l *mortal) {
	s.t.Helper()
	last, _, _ := l.v.Position()
	if last < s.acked || int(last) > len(s.writes) {
		s.t.Fatalf("%s leads from record %d; want within %d (acknowledged) and %d (written)", l.at.name, last, s.acked, len(s.writes))
	}
	got := make([]byte, testSize)
	if _, err := l.v.ReadAt(got, 0); err != nil {
		s.t.Fatal(err)
	}
	want := s.after(last)
	for b := 0; b < len(got); b += ballast.BlockSize {
		if !slices.Equal(got[b:b+ballast.BlockSize], want[b:b+ballast.BlockSize]) {
			s.t.Fatalf("%s at record %d: block %d holds %d; want %d", l.at.name, last, b/ballast.BlockSize, got[b], want[b])
		}
	}
	s.writes = s.writes[:last]
}

// calm lets everything heal, and compares the copies.
func (s *storm) calm() {
	s.cut = nil
	for _, n := range s.nodes {
		if n.r == nil {
			s.receive(n)
		}
	}
	m := s.record.members()
	l := s.begin(s.nodes[m.InSync[0]])
	l.at.disk.(*crashfs.FS).BeforeEach(nil)
	s.verify(l)
	s.write(l)
	s.flush(l)
	s.settle()
	l.close(s.t)
	for _, n := range s.nodes {
		n.stop()
	}
	for _, n := range s.nodes {
		s.sameContent(l.at, n)
	}
}
