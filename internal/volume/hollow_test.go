package volume

import (
	"errors"
	"math/rand/v2"
	"testing"

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
