package volume

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ballast-io/ballast"
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
