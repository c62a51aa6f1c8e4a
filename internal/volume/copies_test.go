package volume

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// ledger knows every record that any leader ever made (R8).
type ledger map[mark]entry

type mark struct {
	epoch ballast.Epoch
	lsn   ballast.LSN
}

// entry is a record: the tag its blocks were painted with, 0 for a discard.
type entry struct {
	tag          uint64
	first, count int
}

// content is what a copy holds whose records are of a lineage, up to last.
func (l ledger) content(lineage Lineage, last ballast.LSN) (tags [testBlocks]uint64, err error) {
	for lsn := ballast.LSN(1); lsn <= last; lsn++ {
		e, ok := l[mark{lineage.epochAt(lsn), lsn}]
		if !ok {
			return tags, fmt.Errorf("nobody wrote record %d of %v", lsn, lineage.epochAt(lsn))
		}
		for b := e.first; b < e.first+e.count; b++ {
			tags[b] = e.tag
		}
	}
	return tags, nil
}

// verify holds what a copy reads against its own lineage.
func (l ledger) verify(read func([]byte, int64) (int, error), lineage Lineage, last ballast.LSN) error {
	tags, err := l.content(lineage, last)
	if err != nil {
		return err
	}
	got, want := make([]byte, testSize), make([]byte, blockSize)
	if _, err := read(got, 0); err != nil {
		return err
	}
	for b, tag := range tags {
		paint(want, tag, b)
		if !bytes.Equal(got[b*blockSize:][:blockSize], want) {
			return fmt.Errorf("block %d at LSN %d of %v is not version %d", b, last, lineage, tag)
		}
	}
	return nil
}

// site is one node with a copy of the volume, which leads or follows.
type site struct {
	disk *crashfs.FS
	v    *Volume
	f    *Follower

	epoch ballast.Epoch // that it answered to
	last  ballast.LSN   // it has no record behind this one
	acked ballast.LSN   // it said that it is durable up to here
	inbox []Batch       // from the leader, not yet appended
	away  bool          // it has not heard of the present leader
	stale bool          // and something was committed without it
}

// realm is the nodes of one volume, one of which leads. It is the [Shipper] of that.
type realm struct {
	t     *testing.T
	rng   *rand.Rand
	sites []*site
	lead  *site
	epoch ballast.Epoch
	ledger
	tags      uint64
	acked     ballast.LSN // flushed
	committed ballast.LSN
	cuts      int
	hooked    bool
}

var followSmall = FollowerOptions{LogCapacity: 6 * small.Segment, Queue: endless}

func newRealm(t *testing.T, rng *rand.Rand, sites int) *realm {
	r := &realm{t: t, rng: rng, ledger: ledger{}}
	for range sites {
		s := &site{disk: crashfs.New()}
		makeSmall(t, s.disk)
		r.sites = append(r.sites, s)
	}
	return r
}

func testSeed(t *testing.T) uint64 {
	seed, err := strconv.ParseUint(os.Getenv("BALLAST_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("BALLAST_SEED=%d", seed)
	return seed
}

func clone(b Batch) Batch {
	b.Records, b.Data = slices.Clone(b.Records), slices.Clone(b.Data)
	return b
}

func (r *realm) Ship(b Batch) {
	for _, s := range r.sites {
		if s != r.lead && !s.away {
			s.inbox = append(s.inbox, clone(b))
		}
	}
}

func (r *realm) Flush(ballast.LSN) {}

func (r *realm) Durable(lsn ballast.LSN) { r.lead.acked = lsn }

// Committed brings every copy as far as lsn.
func (r *realm) Committed(lsn ballast.LSN) error {
	for _, s := range r.sites {
		if s == r.lead {
			continue
		}
		if s.away {
			s.stale = s.stale || lsn > r.committed
			continue
		}
		s.stale = false
		if err := errors.Join(r.catchUp(s), r.deliver(s, len(s.inbox)), s.sync()); err != nil {
			return err
		}
		if s.acked < lsn {
			return fmt.Errorf("a copy is durable up to %d, and not %d", s.acked, lsn)
		}
	}
	r.committed = max(r.committed, lsn)
	return nil
}

// maxUntold is how many records a copy takes before it is told what is committed: a leader
// says so with every piece that it sends. Each takes at most half of a segment here.
const maxUntold = 20

// tell is what a leader says before it sends more.
func (r *realm) tell(s *site) {
	if st := s.f.State(); st.Last > st.Committed+maxUntold {
		s.f.Commit(r.committed) // or its log cannot hold what it lacks
	}
}

// catchUp reads from the leader's log what is not in the inbox.
func (r *realm) catchUp(s *site) error {
	next := r.lead.v.log.last + 1
	if len(s.inbox) > 0 {
		next = s.inbox[0].First
	}
	for at := s.f.State().Last; at+1 < next; at = s.f.State().Last {
		r.tell(s)
		batches, err := r.lead.v.ReadLog(at, int64(r.rng.IntN(20))*blockSize)
		if err != nil {
			return err
		}
		if len(batches) == 0 {
			return nil // it is not durable there yet
		}
		for _, b := range batches {
			if b.First < next {
				s.last = b.Last()
				if err := s.f.Append(b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *realm) deliver(s *site, n int) error {
	for range n {
		b := s.inbox[0]
		if b.First > s.f.State().Last+1 {
			return nil
		}
		s.inbox = s.inbox[1:]
		if b.Last() <= s.f.State().Last {
			continue // came by the log
		}
		s.last = b.Last()
		r.tell(s)
		if err := s.f.Append(b); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) sync() error {
	durable, err := s.f.Sync()
	if err == nil {
		s.acked = max(s.acked, durable)
	}
	return err
}

// install makes site s the leader, and lets the others follow it.
func (r *realm) install(s *site) error {
	for _, other := range r.sites {
		if err := r.stand(other); err != nil {
			return err
		}
	}
	r.epoch++
	s.acked = min(s.acked, s.f.State().Last)
	if err := s.f.Close(); err != nil {
		return err
	}
	s.f, r.lead = nil, s
	v, err := Open(s.disk, testDir, Options{Epoch: r.epoch, LogCapacity: 6 * small.Segment, Queue: endless, Shipper: r})
	if err != nil {
		return err
	}
	s.v, s.epoch, s.last, s.inbox = v, r.epoch, v.Stats().Last, nil
	if st := v.Stats(); st.Last < r.acked || st.Committed != st.Applied {
		return fmt.Errorf("a leader begins at LSN %d, %d were acknowledged; committed %d, applied %d", st.Last, r.acked, st.Committed, st.Applied)
	}
	s.away = false
	for _, other := range r.sites {
		if other == s {
			continue
		}
		if other.away = r.rng.IntN(3) == 0; other.away {
			continue
		}
		if err := r.followLead(other); err != nil {
			return err
		}
	}
	return r.verify(v.ReadAt, v.Lineage(), v.Stats().Last)
}

// stand lets a site be a copy that follows nobody yet.
func (r *realm) stand(s *site) (err error) {
	if s.v != nil {
		_ = s.v.closeFiles() // it dies
		s.v = nil
	}
	if s.f == nil {
		s.f, err = OpenFollower(s.disk, testDir, followSmall)
	}
	return err
}

func (r *realm) followLead(s *site) error {
	st, v := s.f.State(), r.lead.v
	last, _, _ := v.Position()
	cut, ok := st.Lineage.Common(st.Last, v.Lineage(), last)
	if !ok {
		return fmt.Errorf("nothing known in common: %v and %v", st.Lineage, v.Lineage())
	}
	s.acked = min(s.acked, cut)
	if err := s.f.Follow(r.epoch, v.Lineage(), cut); err != nil {
		return fmt.Errorf("at %d, applied %d, of %v: %w", st.Last, st.Applied, st.Lineage, err)
	}
	s.epoch, s.last, s.inbox = r.epoch, cut, nil
	if r.epoch > 1 {
		if err := s.f.Follow(r.epoch-1, v.Lineage()[:len(v.Lineage())-1], cut); !errors.Is(err, ErrStaleEpoch) {
			return fmt.Errorf("Follow of %v after %v = %w; want ErrStaleEpoch", r.epoch-1, r.epoch, err)
		}
	}
	return nil
}

// step does one thing.
func (r *realm) step() error {
	s := r.sites[r.rng.IntN(len(r.sites))]
	n := r.rng.IntN(100)
	switch {
	case n < 40:
		return r.write(n < 34)
	case n < 50:
		return r.flush()
	case n < 54:
		return foldNow(r.lead.v)
	case n < 57:
		v := r.lead.v
		v.mu.Lock()
		v.log.cutTail()
		v.mu.Unlock()
		return v.drain()
	case s == r.lead:
		return nil
	case s.away:
		return r.rejoin(s)
	case n < 75:
		if err := r.catchUp(s); err != nil || len(s.inbox) == 0 {
			return err
		}
		return r.deliver(s, 1+r.rng.IntN(len(s.inbox)))
	case n < 80:
		return s.sync()
	case n < 88:
		s.f.Commit(r.committed)
		return nil
	case n < 96:
		return s.fold()
	case n < 98:
		return r.reopen(s, r.rng.IntN(2) == 0)
	default:
		return r.change()
	}
}

// rejoin lets a site that was away follow the present leader, or go away as it is.
func (r *realm) rejoin(s *site) error {
	if r.rng.IntN(4) > 0 {
		return nil
	}
	s.away = false
	return r.followLead(s)
}

func (s *site) fold() error {
	return foldNow(s.f.v)
}

func (r *realm) write(data bool) error {
	v := r.lead.v
	count := 1 + r.rng.IntN(6)
	e := entry{first: r.rng.IntN(testBlocks - count + 1), count: count}
	if data {
		r.tags++
		e.tag = r.tags
	}
	r.lead.last = v.Stats().Last + 1
	r.ledger[mark{r.epoch, r.lead.last}] = e
	if !data {
		return v.Discard(int64(e.first)*blockSize, int64(e.count)*blockSize)
	}
	p := make([]byte, count*blockSize)
	for i := range count {
		paint(p[i*blockSize:][:blockSize], e.tag, e.first+i)
	}
	_, err := v.WriteAt(p, int64(e.first)*blockSize)
	return err
}

func (r *realm) flush() error {
	last := r.lead.v.Stats().Last
	if err := r.lead.v.Flush(); err != nil {
		return err
	}
	r.acked = last
	if r.committed < last {
		return fmt.Errorf("flushed up to %d, committed up to %d", last, r.committed)
	}
	return nil
}

// reopen closes a copy, or cuts its power, and lets it follow again.
func (r *realm) reopen(s *site, cut bool) (err error) {
	if cut {
		_ = s.f.v.closeFiles() // it dies
		s.disk = r.left(s)
	} else if err := s.f.Close(); err != nil {
		return err
	}
	s.f, s.inbox = nil, nil
	if err := r.stand(s); err != nil {
		return err
	}
	if st := s.f.State(); st.Last < s.acked || st.Committed > st.Applied {
		return fmt.Errorf("opened again at %d, was durable up to %d; committed %d, applied %d", st.Last, s.acked, st.Committed, st.Applied)
	}
	return r.followLead(s)
}

// change lets another site lead. The one before goes on as what its process, or its
// power, left of it.
func (r *realm) change() error {
	old := r.lead
	if r.rng.IntN(2) == 0 {
		_ = old.v.closeFiles() // it dies
		old.v, old.disk = nil, r.left(old)
	}
	for {
		if next := r.sites[r.rng.IntN(len(r.sites))]; !next.stale {
			return r.install(next)
		}
	}
}

// TestCopiesAgree takes three nodes through a long time of random work, crashes and changes
// of who leads; then all follow one, and have the same bytes at the same LSN (G4).
func TestCopiesAgree(t *testing.T) {
	base := testSeed(t)
	runs := 40 / share
	if testing.Short() {
		runs = min(runs, 8)
	}
	for run := range uint64(runs) {
		r := newRealm(t, rand.New(rand.NewPCG(base, 1000+run)), 3)
		if err := r.install(r.sites[0]); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 600 && r.epoch < keptReigns-5; n++ {
			if err := r.step(); err != nil {
				t.Fatalf("run %d, step %d, %v: %v", run, n, r.epoch, err)
			}
		}
		for _, s := range r.sites {
			if s != r.lead && s.away {
				s.away = false
				if err := r.followLead(s); err != nil {
					t.Fatalf("run %d: %v", run, err)
				}
			}
		}
		if err := errors.Join(r.write(true), r.flush()); err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		last, _, _ := r.lead.v.Position()
		for _, s := range r.sites {
			if s == r.lead {
				continue
			}
			st := s.f.State()
			if at, ok := st.Lineage.Common(st.Last, r.lead.v.Lineage(), last); !ok || at != last || st.Last != last {
				t.Errorf("run %d: a copy is at %d of %v; the leader at %d of %v", run, st.Last, st.Lineage, last, r.lead.v.Lineage())
			}
			if err := r.verify(s.f.v.ReadAt, r.lead.v.Lineage(), last); err != nil {
				t.Errorf("run %d: %v", run, err)
			}
		}
	}
}
