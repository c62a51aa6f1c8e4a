package volume

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// TestFetchBudget: while the source is away, a read of what is missing fails
// after the budget, what is there is served, and when it is back so is all else.
func TestFetchBudget(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source func(*original) Source
	}{
		{"refuses", func(o *original) Source { return o }},
		{"hangs", func(*original) Source { return slow{} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := crashfs.New()
				s, o := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 32)), sheetChunks, hollowLSN)
				o.fail = func(int) error { return errAway }
				v, err := Open(disk, testDir, Options{Epoch: 8, Source: tt.source(o), FetchBudget: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				block := make([]byte, blockSize)
				paint(block, 9, 1)
				if _, err := v.WriteAt(block, blockSize); err != nil {
					t.Fatal(err)
				}
				chunk := s.someChunk()
				begin := time.Now()
				if _, err := v.ReadAt(block, int64(chunk)*ballast.ChunkSize+2*blockSize); !errors.Is(err, ErrMissing) || time.Since(begin) != time.Minute {
					t.Errorf("ReadAt of a missing chunk = %v after %v; want ErrMissing after a minute", err, time.Since(begin))
				}
				if st := v.Stats(); st.FetchErr == nil || st.FetchFailingSince.IsZero() || st.Err != nil {
					t.Errorf("stats = %+v; want a failing source and a volume that is well", st)
				}
				want := bytes.Clone(block)
				paint(want, 9, 1)
				if _, err := v.ReadAt(block, blockSize); err != nil || !bytes.Equal(block, want) {
					t.Errorf("ReadAt of what was written = %v; want nil", err)
				}
				o.failWith(nil)
				v.hydration.source = o
				s.record(9, 1, 1)
				if err := s.verify(v); err != nil {
					t.Errorf("once the source is back: %v", err)
				}
				if st := v.Stats(); st.FetchErr != nil || !st.FetchFailingSince.IsZero() || st.MissingChunks != 0 {
					t.Errorf("stats = %+v; want all to be here", st)
				}
			})
		})
	}
}

// TestFetchIsShared: readers of one chunk wait for one fetch.
func TestFetchIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s, o := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 33)), sheetChunks, hollowLSN)
		v, err := Open(disk, testDir, Options{Epoch: 8, Source: slow{o, time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		chunk := s.someChunk()
		var readers sync.WaitGroup
		for i := range 20 {
			readers.Go(func() {
				b := chunk*blocksPerChunk + i
				got, want := make([]byte, blockSize), make([]byte, blockSize)
				paint(want, versionAt(s.versions[b], s.last), b)
				if _, err := v.ReadAt(got, int64(b)*blockSize); err != nil || !bytes.Equal(got, want) {
					t.Errorf("ReadAt of block %d = %v; want its bytes", b, err)
				}
			})
		}
		readers.Wait()
		if !slices.Equal(o.fetched, []int{chunk}) {
			t.Errorf("fetched %v; want chunk %d once", o.fetched, chunk)
		}
	})
}

// TestWriteDuringFetch writes a block, and replaces a whole chunk, while readers
// wait for the rest of it: what comes late must not overwrite what is newer.
func TestWriteDuringFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s, o := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 34)), sheetChunks, hollowLSN)
		var err error
		if s.v, err = Open(disk, testDir, Options{Epoch: 8, Source: slow{o, time.Second}}); err != nil {
			t.Fatal(err)
		}
		chunk := s.someChunk()
		var reader sync.WaitGroup
		read := make([]byte, blockSize)
		reader.Go(func() {
			if _, err := s.v.ReadAt(read, int64(chunk)*ballast.ChunkSize); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		s.record(0, chunk*blocksPerChunk, blocksPerChunk)
		if err := s.v.Discard(int64(chunk)*ballast.ChunkSize, ballast.ChunkSize); err != nil {
			t.Fatal(err)
		}
		if err := s.fold(t.Context()); err != nil {
			t.Fatal(err)
		}
		reader.Wait()
		if want := make([]byte, blockSize); !bytes.Equal(read, want) {
			t.Errorf("a read that waited = % x…; want what is there now", read[:16])
		}
		if err := errors.Join(s.verify(s.v), s.v.Close()); err != nil {
			t.Error(err)
		}
		if v, err := openHollow(disk, 9, o); err != nil || s.verify(v) != nil {
			t.Errorf("after it was opened again: %v", errors.Join(err, s.verify(v)))
		}
	})
}

// TestNoSource: what is missing cannot be read, and the error says so at once.
func TestNoSource(t *testing.T) {
	disk := crashfs.New()
	s, _ := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 36)), sheetChunks, hollowLSN)
	v, err := Open(disk, testDir, Options{Epoch: 8})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.ReadAt(make([]byte, blockSize), int64(s.someChunk())*ballast.ChunkSize); !errors.Is(err, ErrMissing) {
		t.Errorf("ReadAt of a missing chunk without a source = %v; want ErrMissing", err)
	}
}
