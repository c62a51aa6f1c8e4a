package volume

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

// TestStageRefuses: what makes no sense is refused, and the copy is what it was.
func TestStageRefuses(t *testing.T) {
	p := newPassage(t, rand.New(rand.NewPCG(3, 64)), 2)
	st := p.f.State()
	good := StagePoint{LSN: p.last, Epoch: 60, Size: p.v.Size(), Lineage: p.v.Lineage()}
	with := func(change func(*StagePoint)) StagePoint {
		to := good
		change(&to)
		return to
	}
	for _, tt := range []struct {
		name string
		to   StagePoint
		want error
	}{
		{"no size", with(func(to *StagePoint) { to.Size = 0 }), ballast.ErrInvalid},
		{"half a chunk", with(func(to *StagePoint) { to.Size += blockSize }), ballast.ErrInvalid},
		{"changes since later than the point", with(func(to *StagePoint) { to.Since = to.LSN + 1 }), ballast.ErrInvalid},
		{"changes since later than the image", with(func(to *StagePoint) { to.LSN, to.Since = 1000, st.Applied+1 }), ballast.ErrInvalid},
		{"another epoch than its lineage", with(func(to *StagePoint) { to.Epoch++ }), ballast.ErrInvalid},
		{"no lineage", with(func(to *StagePoint) { to.Lineage = nil }), ballast.ErrInvalid},
		{"a lineage beyond the point", with(func(to *StagePoint) { to.LSN = to.Lineage[len(to.Lineage)-1].From - 2 }), ballast.ErrInvalid},
		{"an epoch that is over", with(func(to *StagePoint) { to.Epoch, to.Lineage = 49, Lineage{{49, 1}} }), ErrStaleEpoch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := p.f.Stage(tt.to); !errors.Is(err, tt.want) || s != nil {
				t.Errorf("Stage = %v; want %v", err, tt.want)
			}
		})
	}
	s, err := p.f.Stage(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		chunk int
		lsn   ballast.LSN
		data  []byte
	}{
		{"a chunk before the first", -1, 1, nil},
		{"a chunk behind the last", int(good.Size / ballast.ChunkSize), 1, nil},
		{"half a chunk", 0, 1, make([]byte, ballast.ChunkSize/2)},
		{"a change behind the point", 0, good.LSN + 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := s.Put(tt.chunk, tt.lsn, tt.data); !errors.Is(err, ballast.ErrInvalid) {
				t.Errorf("Put = %v; want ErrInvalid", err)
			}
		})
	}
	if _, err := p.f.Stage(good); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("a second Stage = %v; want ErrInUse", err)
	}
	if err := p.f.DropStaged(); !errors.Is(err, ballast.ErrInUse) {
		t.Errorf("DropStaged meanwhile = %v; want ErrInUse", err)
	}
	if err := errors.Join(s.Close(), s.Close(), p.f.DropStaged(), p.isWhole(p.disk.PowerCut(p.rng))); err != nil {
		t.Error(err)
	}
	if err := s.Put(0, 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Put after Close = %v; want ErrClosed", err)
	}
}

// TestStageWantsAll leaves each chunk out that the copy changed by itself, as a leader
// would that does not know of it: Finish refuses, and the copy is what it was (R6).
func TestStageWantsAll(t *testing.T) {
	tried := 0
	for seed := uint64(0); tried < sheetSeeds && seed < 1000; seed++ {
		p := newPassage(t, rand.New(rand.NewPCG(seed, 65)), 2)
		if err := p.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		own := p.f.Changed(p.into.to.Since)
		if len(own) == 0 { // what it did by itself is in its log only
			if err := p.breakOff(); err != nil {
				t.Error(err)
			}
			continue
		}
		tried++
		left := own[p.rng.IntN(len(own))]
		p.to = p.into.to.LSN
		buf := make([]byte, ballast.ChunkSize)
		for {
			c, err := p.snap.NextChunk(buf)
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil && c.Chunk != left {
				err = p.into.Put(c.Chunk, c.LSN, bytes.Clone(buf))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := p.into.Finish(); !errors.Is(err, ballast.ErrInvalid) {
			t.Errorf("seed %d: Finish without chunk %d = %v; want ErrInvalid", seed, left, err)
		}
		if err := errors.Join(p.breakOff(), p.isWhole(p.disk.PowerCut(p.rng))); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if err := p.chunks(t.Context()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := p.isAt(p.disk.PowerCut(p.rng), 94, p.f.State().Last); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestStageInterrupted ends a merge that is under way: the copy takes nothing until the
// next Stage or the next opening has gone on with it.
func TestStageInterrupted(t *testing.T) {
	for _, reopen := range []bool{false, true} {
		p := newPassage(t, rand.New(rand.NewPCG(4, 67)), 1)
		if err := p.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		for done := false; !done; {
			var err error
			if done, err = p.next(); err != nil {
				t.Fatal(err)
			}
		}
		p.to, p.ending = p.into.to.LSN, true
		p.into.stop.Store(true)
		if err := p.into.Finish(); !errors.Is(err, ErrClosed) {
			t.Errorf("Finish = %v; want ErrClosed", err)
		}
		if st := p.f.State(); st.Complete || st.Err != nil {
			t.Errorf("state = %+v; want a copy that is well and not complete", st)
		}
		if err := p.f.Follow(p.v.Epoch(), p.v.Lineage(), p.f.State().Last); !errors.Is(err, ballast.ErrNotReady) {
			t.Errorf("Follow = %v; want ErrNotReady", err)
		}
		if err := errors.Join(p.breakOff(), p.isWhole(p.disk.PowerCut(p.rng))); err != nil {
			t.Error(err)
		}
		if reopen {
			var err error
			if err = p.f.Close(); err == nil {
				p.f, err = openCopyOf(p.disk)
			}
			if err != nil {
				t.Fatal(err)
			}
			if st := p.f.State(); !st.Complete || st.Last != p.to {
				t.Errorf("state = %+v; want LSN %d", st, p.to)
			}
		}
		if err := p.goOn(t.Context(), true); err != nil {
			t.Error(err)
		}
	}
}

// TestStageKeepsGrowth: a copy that its leader grows while chunks come is as large
// afterwards, and one that grew by itself is as large as its leader.
func TestStageKeepsGrowth(t *testing.T) {
	for _, meanwhile := range []bool{true, false} {
		p := newPassage(t, rand.New(rand.NewPCG(5, 68)), 1)
		size := p.v.Size() + 2*ballast.ChunkSize
		grow := func() {
			t.Helper()
			if err := p.f.Resize(size); err != nil {
				t.Fatal(err)
			}
		}
		if !meanwhile {
			grow()
		}
		if err := p.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		for done := false; !done; {
			var err error
			if done, err = p.next(); err != nil {
				t.Fatal(err)
			}
		}
		want := p.v.Size()
		if meanwhile {
			grow()
			want = size
		}
		if err := p.finish(); err != nil {
			t.Fatal(err)
		}
		if got := p.f.State().Size; got != want {
			t.Errorf("size = %d; want %d", got, want)
		}
		for len(p.versions) < int(size/blockSize) {
			p.versions = append(p.versions, nil)
		}
		grow() // and what the copy had there before is gone
		if err := p.isAt(p.disk.PowerCut(p.rng), 95, p.f.State().Last); err != nil {
			t.Error(err)
		}
	}
}

// FuzzPoint: what is no point is refused, and what is one is written as it was read.
func FuzzPoint(f *testing.F) {
	disk := crashfs.New()
	if err := errors.Join(disk.Mkdir(testDir), disk.Mkdir(testDir+"/"+stagingDir)); err != nil {
		f.Fatal(err)
	}
	p := stagedPoint{Format: 2, Salt: 9, LSN: 5, Epoch: 2, Size: ballast.ChunkSize, Lineage: Lineage{{1, 1}, {2, 4}}}
	if err := p.store(disk, testDir); err != nil {
		f.Fatal(err)
	}
	b, err := vfs.ReadFile(disk, testDir+"/"+stagingDir+"/"+pointName, descriptorMax)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePoint(b)
		if err != nil {
			return
		}
		if p.Size%ballast.ChunkSize != 0 || p.Lineage.Epoch() != p.Epoch {
			t.Errorf("decodePoint accepted %+v", p)
		}
	})
}

// TestStageForgetsChunks breaks a first staging off after a chunk that the next leader
// never wrote: none of it is left in the image, whoever sends nothing for it.
func TestStageForgetsChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 69))
	r := newRebuilt(t, rng)
	paintChunk := func(s *sheet, chunk int) {
		t.Helper()
		p := make([]byte, blockSize)
		s.tags++
		paint(p, s.tags, chunk*blocksPerChunk)
		s.record(s.tags, chunk*blocksPerChunk, 1)
		if _, err := s.v.WriteAt(p, int64(chunk)*ballast.ChunkSize); err != nil {
			t.Fatal(err)
		}
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
	}
	paintChunk(r.sheet, 0)
	other, home := r.fork(), r.home.PowerCut(rng)
	paintChunk(r.sheet, 2)
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		var err error
		if done, err = r.next(); err != nil {
			t.Fatal(err)
		}
	}
	err := r.breakOff()
	if err == nil {
		other.v, err = openSmall(home, 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	paintChunk(other, 1)
	r.leader = other.v
	if err := r.chunks(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.isAt(r.disk.PowerCut(rng), 9, other.last); err != nil {
		t.Error(err)
	}
}
