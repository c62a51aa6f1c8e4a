package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

// pull is what two nodes do to bring a copy to where its leader is: chunks, then the
// log. It goes on from call to call, so that others can work in between.
type pull struct {
	leader *Volume
	f      *Follower
	snap   *Snapshot
	into   *Staging
	buf    []byte
}

// begin takes a snapshot of what the copy lacks, and stages it.
func (p *pull) begin(ctx context.Context) (err error) {
	st := p.f.State()
	last, _, _ := p.leader.Position()
	since, known := p.leader.Lineage().Common(last, st.Lineage, st.Last)
	if since = min(since, st.Applied); !known || !st.Complete {
		since = 0
	}
	diverged := map[int]bool{}
	for _, chunk := range p.f.Changed(since) {
		diverged[chunk] = true
	}
	p.snap, err = p.leader.SnapshotOf(ctx, func(chunk int) ballast.LSN {
		if diverged[chunk] {
			return Always
		}
		return since
	})
	if err != nil {
		return err
	}
	info := p.snap.Info()
	p.into, err = p.f.Stage(StagePoint{LSN: info.LSN, Epoch: p.leader.Epoch(), Size: info.Size, Lineage: p.leader.Lineage(), Since: since})
	if err != nil {
		return errors.Join(err, p.snap.Close())
	}
	staged := maps.Collect(p.into.Staged())
	p.snap.Skip(func(chunk int, changed ballast.LSN) bool {
		lsn, ok := staged[chunk]
		return ok && lsn >= changed
	})
	p.into.Expect(p.snap.Left())
	return nil
}

// next puts one chunk, and reports whether that was the last one.
func (p *pull) next() (done bool, err error) {
	if p.buf == nil {
		p.buf = make([]byte, ballast.ChunkSize)
	}
	c, err := p.snap.NextChunk(p.buf)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	data := p.buf
	if c.Zero {
		data = nil
	}
	return false, p.into.Put(c.Chunk, c.LSN, data)
}

// breakOff ends what is under way. What was staged stays.
func (p *pull) breakOff() error {
	var err error
	if p.snap != nil {
		err = p.snap.Close()
	}
	if p.into != nil {
		err = errors.Join(err, p.into.Close())
	}
	p.snap, p.into = nil, nil
	return err
}

// finish brings the copy to the snapshot.
func (p *pull) finish() error {
	return errors.Join(p.into.Finish(), p.breakOff())
}

// chunks does all of it at once.
func (p *pull) chunks(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	for {
		done, err := p.next()
		if err != nil {
			return errors.Join(err, p.breakOff())
		}
		if done {
			return p.finish()
		}
	}
}

// catchUp brings the copy to where the leader's log ends now.
func (p *pull) catchUp() error {
	if err := p.leader.Flush(); err != nil {
		return err
	}
	st := p.f.State()
	if err := p.f.Follow(p.leader.Epoch(), p.leader.Lineage(), st.Last); err != nil {
		return err
	}
	if size := p.leader.Size(); size > st.Size {
		if err := p.f.Resize(size); err != nil {
			return err
		}
	}
	for {
		batches, err := p.leader.ReadLog(p.f.State().Last, 1<<20)
		if err != nil || batches == nil {
			return err
		}
		for _, b := range batches {
			if err := p.f.Append(b); err != nil {
				return err
			}
		}
		durable, err := p.f.Sync()
		if err != nil {
			return err
		}
		p.f.Commit(durable)
	}
}

// newCopy makes a copy that has nothing, with small segments.
func newCopy(t testing.TB, disk vfs.FS, size int64) {
	t.Helper()
	d := small
	d.Format, d.Size, d.Salt, d.Incomplete = 2, size, 0xc0b7, true
	if err := errors.Join(disk.Mkdir(testDir), create(disk, testDir, &d, func(*chunks) {}), disk.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
}

func openCopyOf(disk vfs.FS) (*Follower, error) {
	return OpenFollower(disk, testDir, FollowerOptions{LogCapacity: 6 * small.Segment})
}

// isAt holds a copy against what its leader wrote, once opened as a leader itself.
func (s *sheet) isAt(disk *crashfs.FS, epoch ballast.Epoch, lsn ballast.LSN) error {
	if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 {
		return fmt.Errorf("check: %w %v", err, rep.Damage)
	}
	v, err := openSmall(disk, epoch)
	if err != nil {
		return err
	}
	last, _, _ := v.Position()
	if last != lsn {
		return fmt.Errorf("the copy is at LSN %d; want %d", last, lsn)
	}
	got := make([]byte, v.Size())
	if _, err := v.ReadAt(got, 0); err != nil {
		return err
	}
	return s.compare(got, lsn)
}

// leads lets a copy lead, and lays what it says has changed since the archive's last
// snapshot over that: its table must say so of what came in chunks as well.
func (r *rebuilt) leads(ctx context.Context, disk *crashfs.FS) error {
	v, err := openSmall(disk, 9)
	if err != nil {
		return err
	}
	if last, _, _ := v.Position(); last < r.pic.base {
		return nil
	}
	pic := picture{r.pic.base, bytes.Clone(r.pic.p)}
	if r.base != nil {
		pic = r.before // the one under way is half of each
	}
	pic.p = pic.p[:min(len(pic.p), int(v.Size()))] // the leader may have grown since, without a record
	snap, err := v.Snapshot(ctx, pic.base)
	for done := false; err == nil && !done; {
		done, err = pic.lay(snap)
	}
	if err != nil {
		return err
	}
	return r.compare(pic.p, pic.base)
}

// TestRebuildUnderWrites rebuilds a copy from nothing while the leader writes, discards,
// grows and folds, breaks the staging off now and then, reads the archive's snapshot
// at the same time, catches up from the log, and goes through all that several times: each time the
// copy is the leader, to the byte (R6, V10; G4).
func TestRebuildUnderWrites(t *testing.T) {
	seeds := uint64(rebuildSeeds)
	if testing.Short() {
		seeds = min(seeds, 24)
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 60))
			r := newRebuilt(t, rng)
			for range 4 {
				if err := r.round(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// rebuilt is a copy, its leader, and the archive's reader.
type rebuilt struct {
	*sheet
	pull
	home   *crashfs.FS // of the leader
	disk   *crashfs.FS // of the copy
	base   *Snapshot
	pic    picture
	before picture // base
}

func newRebuilt(t testing.TB, rng *rand.Rand) *rebuilt {
	t.Helper()
	disk := crashfs.New()
	makeSheet(t, disk)
	r := &rebuilt{sheet: newSheet(rng, sheetChunks), home: disk, disk: crashfs.New()}
	var err error
	if r.v, err = openSmall(disk, 1); err != nil {
		t.Fatal(err)
	}
	newCopy(t, r.disk, r.v.Size())
	if r.f, err = openCopyOf(r.disk); err != nil {
		t.Fatal(err)
	}
	r.leader = r.v
	return r
}

// work lets the leader go on, and the archive's reader.
func (r *rebuilt) work(ctx context.Context) (err error) {
	for range r.rng.IntN(12) {
		if err := r.step(ctx); err != nil {
			return fmt.Errorf("leader: %w", err)
		}
	}
	if r.base == nil {
		r.before = picture{r.pic.base, bytes.Clone(r.pic.p)}
		if r.base, err = r.v.Snapshot(ctx, r.pic.base); err != nil {
			return err
		}
	}
	done, err := r.pic.lay(r.base)
	if done && err == nil {
		r.base, err = nil, r.compare(r.pic.p, r.pic.base)
	}
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// round brings the copy to the leader's state in chunks, then with the log.
func (r *rebuilt) round(ctx context.Context) error {
	for range 10 {
		if err := r.work(ctx); err != nil {
			return err
		}
	}
	for done := false; !done; {
		if r.into == nil {
			if err := r.begin(ctx); err != nil {
				return fmt.Errorf("begin: %w", err)
			}
		}
		if err := r.work(ctx); err != nil {
			return err
		}
		var err error
		if done, err = r.next(); err != nil {
			return fmt.Errorf("stage: %w", err)
		}
		if !done && r.rng.IntN(10) == 0 {
			if err := r.breakOff(); err != nil {
				return fmt.Errorf("break off: %w", err)
			}
		}
	}
	lsn := r.into.to.LSN
	if err := r.finish(); err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	if st := r.f.State(); st.Last != lsn || st.Applied != lsn || !st.Complete {
		return fmt.Errorf("state after finish = %+v; want LSN %d", st, lsn)
	}
	if err := r.isAt(r.disk.PowerCut(r.rng), 9, lsn); err != nil {
		return fmt.Errorf("after chunks: %w", err)
	}
	if err := r.leads(ctx, r.disk.PowerCut(r.rng)); err != nil {
		return fmt.Errorf("as a leader: %w", err)
	}
	if r.rng.IntN(2) == 0 {
		return nil // the next round begins where this one ended
	}
	if err := r.catchUp(); err != nil && !errors.Is(err, ErrRecycled) {
		return fmt.Errorf("log: %w", err)
	}
	if st := r.f.State(); st.Durable != st.Last {
		return fmt.Errorf("durable to %d of %d", st.Durable, st.Last)
	}
	return r.isAt(r.disk.PowerCut(r.rng), 9, r.f.State().Last)
}

// fork is another history of the same volume from now on.
func (s *sheet) fork() *sheet {
	next := *s
	next.versions, next.sizes = slices.Clone(s.versions), slices.Clone(s.sizes)
	for b, vs := range next.versions {
		next.versions[b] = slices.Clone(vs)
	}
	next.tags += 1 << 32
	return &next
}

// TestPowerCutBetweenLeaders breaks a staging off, and lets a leader go on with it that does not
// have the end of what the first one had: nothing of that may be left (R6, R8).
func TestPowerCutBetweenLeaders(t *testing.T) {
	for seed := range uint64(2 * sheetSeeds) {
		rng := rand.New(rand.NewPCG(seed, 63))
		r := newRebuilt(t, rng)
		ctx := t.Context()
		work := func(s *sheet, steps int) {
			t.Helper()
			for range steps {
				if err := s.step(ctx); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		work(r.sheet, 30)
		if seed%2 == 0 { // a copy that has something to lose
			if err := r.chunks(ctx); err != nil {
				t.Fatal(err)
			}
			work(r.sheet, 20)
		}
		if err := r.flush(); err != nil {
			t.Fatal(err)
		}
		other := r.fork()
		home := r.home.PowerCut(rng)
		work(r.sheet, 30)
		if err := r.begin(ctx); err != nil {
			t.Fatal(err)
		}
		for range 1 + rng.IntN(3) {
			if _, err := r.next(); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.breakOff(); err != nil {
			t.Fatal(err)
		}
		var err error
		if other.v, err = openSmall(home, 2); err != nil {
			t.Fatal(err)
		}
		other.cut(other.v.Stats().Last)
		work(other, rng.IntN(40))
		r.leader = other.v
		if err := r.chunks(ctx); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := other.isAt(r.disk.PowerCut(rng), 9, r.f.State().Last); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
