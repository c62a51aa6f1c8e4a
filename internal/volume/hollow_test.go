package volume

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// TestSinceOfHollow: what the archive reads of a hollow volume begins behind the
// record that its bytes end with, and says so before.
func TestSinceOfHollow(t *testing.T) {
	disk := crashfs.New()
	s, o := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 42)), sheetChunks, hollowLSN)
	var err error
	if s.v, err = Open(disk, testDir, Options{Epoch: 8, Source: o, Queue: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if d, err := s.v.Since(hollowLSN, 1<<20); d != nil || err != nil {
		t.Errorf("Since its first record = %v, %v; want nothing yet", d, err)
	}
	if err := errors.Join(s.write(), s.flush()); err != nil {
		t.Fatal(err)
	}
	d, err := s.v.Since(hollowLSN, 1<<20)
	if err != nil || d == nil || d.After != hollowLSN || d.Last() != s.last || d.Epoch != 8 {
		t.Errorf("Since its first record = %+v, %v; want what was written", d, err)
	}
	if _, err := s.v.Since(hollowLSN-1, 1<<20); !errors.Is(err, ErrRecycled) {
		t.Errorf("Since a record before its first = %v; want ErrRecycled", err)
	}
}

// TestHollowFromPeer makes a hollow volume where its peer's log ends, writes to it,
// and lets the peer follow: the peer cuts nothing, has the same lineage, and gets the
// rest from the log (R8).
func TestHollowFromPeer(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 43))
	r := newRebuilt(t, rng)
	for range 40 {
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.chunks(t.Context()), r.write(), r.catchUp(), r.f.Promise(9)); err != nil {
		t.Fatal(err)
	}
	st := r.f.State()
	home := crashfs.New()
	if err := errors.Join(home.Mkdir(testDir), CreateHollow(home, testDir, Hollow{
		ID: small.ID, Size: st.Size, LSN: st.Last, Epoch: st.Lineage.epochAt(st.Last), Lineage: st.Lineage,
	})); err != nil {
		t.Fatal(err)
	}
	s := r.sheet
	var err error
	if s.v, err = Open(home, testDir, Options{Epoch: 9, Source: peer{r.f}, Queue: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	s.cut(st.Last)
	if got, want := s.v.Lineage(), st.Lineage.Next(9, st.Last+1); !slices.Equal(got, want) {
		t.Errorf("lineage = %v; want %v", got, want)
	}
	r.leader = s.v
	if err := errors.Join(s.write(), s.discard(), s.flush(), r.catchUp()); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := errors.Join(s.step(t.Context()), s.flush(), r.catchUp()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.verify(s.v), r.isAt(r.disk.PowerCut(rng), 10, s.last)); err != nil {
		t.Error(err)
	}
	for _, entry := range s.v.chunks.table {
		if lsn := ballast.LSN(entry &^ presentBit); lsn < st.Last {
			t.Errorf("a chunk of a hollow volume changed at LSN %d; nobody can know, before %d", lsn, st.Last)
		}
	}
}

// peer is a copy that chunks are read from.
type peer struct{ f *Follower }

func (p peer) Fetch(ctx context.Context, chunk int, data []byte) error {
	return p.f.ReadChunk(ctx, chunk, data)
}

// TestHollowUnderEpoch: a hollow volume cannot be opened under the epoch that wrote its
// bytes, whatever its lineage says.
func TestHollowUnderEpoch(t *testing.T) {
	for _, tt := range []struct {
		name    string
		lsn     ballast.LSN
		lineage Lineage
	}{
		{"no lineage", 5, nil},
		{"a lineage", 5, Lineage{{1, 1}, {7, 3}}},
		{"one that ends earlier", 5, Lineage{{1, 1}}},
		{"one that goes on", 5, Lineage{{1, 1}, {7, 6}}},
		{"nothing was written yet", 0, Lineage{{7, 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := crashfs.New()
			h := Hollow{ID: "test", Size: ballast.ChunkSize, LSN: tt.lsn, Epoch: 7, Lineage: tt.lineage}
			if err := errors.Join(disk.Mkdir(testDir), CreateHollow(disk, testDir, h)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(disk, testDir, Options{Epoch: 7}); !errors.Is(err, ErrStaleEpoch) {
				t.Errorf("Open under the same epoch = %v; want ErrStaleEpoch", err)
			}
			if v, err := Open(disk, testDir, Options{Epoch: 8}); err != nil || v.Lineage().Epoch() != 8 {
				t.Errorf("Open under the next = %v; want nil", err)
			}
		})
	}
}

// TestFlushOfHollow: what a hollow volume began with is acknowledged only once the other copies
// have it, be nothing written since (R1): the one that it was taken from may have more than they.
func TestFlushOfHollow(t *testing.T) {
	for _, unsettled := range []bool{false, true} {
		disk := crashfs.New()
		_, o := hollowSheet(t, disk, rand.New(rand.NewPCG(2, 44)), sheetChunks, hollowLSN)
		p := newPorter()
		v, err := Open(disk, testDir, Options{Epoch: 8, Source: o, Shipper: p, Unsettled: unsettled})
		if err != nil {
			t.Fatal(err)
		}
		done := later(v.Flush)
		if unsettled {
			if lsn := <-p.asked; lsn != hollowLSN {
				t.Errorf("a flush waits for record %d; want %d", lsn, hollowLSN)
			}
			p.say <- nil
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := v.Stats().Committed; got != hollowLSN {
			t.Errorf("committed up to %d; want %d", got, hollowLSN)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}
