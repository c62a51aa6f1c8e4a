package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast/internal/crashfs"
)

func (r *realm) left(s *site) *crashfs.FS {
	s.disk.BeforeEach(nil)
	disk := s.disk.PowerCut(r.rng)
	r.hook(s, disk)
	return disk
}

// hook cuts the power before every operation of a disk.
func (r *realm) hook(s *site, disk *crashfs.FS) {
	if r.hooked {
		disk.BeforeEach(func(int) { r.cut(s, disk) })
	}
}

func (r *realm) cut(s *site, disk *crashfs.FS) {
	r.cuts++
	after := disk.PowerCut(r.rng)
	if err := r.survives(s, after); err != nil {
		r.t.Errorf("cut %d: %v", r.cuts, err)
	}
}

// survives holds what a power cut left of a site against what it said.
func (r *realm) survives(s *site, after *crashfs.FS) error {
	if rep, err := Check(after, testDir); err != nil || len(rep.Damage) > 0 {
		return fmt.Errorf("check: %w %v", err, rep.Damage)
	}
	f, err := OpenFollower(after, testDir, followSmall)
	if err != nil {
		return err
	}
	st := f.State()
	switch {
	case st.Epoch < s.epoch:
		return fmt.Errorf("follows %v, and answered to %v", st.Epoch, s.epoch)
	case st.Last < s.acked || st.Last > s.last && st.Lineage.Epoch() == s.epoch:
		return fmt.Errorf("ends at LSN %d; was durable up to %d, and had records up to %d", st.Last, s.acked, s.last)
	case st.Applied > r.committed:
		return fmt.Errorf("has LSN %d in its image, committed is %d", st.Applied, r.committed)
	case st.Committed > st.Applied:
		return fmt.Errorf("committed %d although nobody said so, applied %d", st.Committed, st.Applied)
	}
	if err := r.verify(f.v.ReadAt, st.Lineage, st.Last); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	v, err := Open(after, testDir, Options{Epoch: max(st.Epoch, r.epoch) + 5, LogCapacity: 6 * small.Segment})
	if err != nil {
		return err
	}
	if got := v.Stats().Last; got != st.Last {
		return fmt.Errorf("as a leader it ends at %d, as a follower at %d", got, st.Last)
	}
	return r.verify(v.ReadAt, v.Lineage(), st.Last)
}

// TestPowerCutOfCopies lets three nodes keep copies of a volume through random work, with
// crashes, cuts of the power and changes of who leads, and cuts the power of each before
// every operation of its disk. What a copy said must be true of what is left: what it is durable to,
// which epoch it follows (R4), that nothing is in its image that is not committed (R5),
// and that it has no record that was cut; and its bytes are those of its lineage at its
// LSN (R8; G4).
func TestPowerCutOfCopies(t *testing.T) {
	base := testSeed(t)
	cuts := max(powerCuts/5, 1500)
	if testing.Short() {
		cuts = min(cuts, 5000)
	}
	for run := range uint64(10) {
		t.Run(fmt.Sprintf("run=%d", run), func(t *testing.T) {
			t.Parallel()
			r := newRealm(t, rand.New(rand.NewPCG(base, run)), 3)
			r.hooked = true
			for _, s := range r.sites {
				r.hook(s, s.disk)
			}
			if err := r.install(r.sites[0]); err != nil {
				t.Fatal(err)
			}
			for n := 0; r.cuts < cuts/10 && !t.Failed(); n++ {
				if err := r.step(); err != nil {
					t.Fatalf("step %d, %v: %v", n, r.epoch, err)
				}
				if r.epoch > keptReigns-5 {
					break // the ledger asks for every record's epoch
				}
			}
			t.Logf("%d cuts, %d records, %v, %d committed", r.cuts, len(r.ledger), r.epoch, r.committed)
			if r.committed < 5 {
				t.Error("hardly anything was committed")
			}
		})
	}
}

// TestFailingDiskOfCopy makes the disk of one of two nodes fail at its n-th operation, for
// every n of a script of random work. What it said before must be true of what is
// left, and so must all that was flushed.
func TestFailingDiskOfCopy(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for _, leads := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/leads=%t", errno, leads), func(t *testing.T) {
				t.Parallel()
				step := 100_000 / powerCuts // under the race detector each takes much longer
				if testing.Short() {
					step *= 9
				}
				for n, more := 0, true; more; n += step {
					more = failCopyAt(t, uint64(n%2), n, errno, leads)
				}
			})
		}
	}
}

func failCopyAt(t *testing.T, seed uint64, n int, errno syscall.Errno, leads bool) (failed bool) {
	r := newRealm(t, rand.New(rand.NewPCG(seed, 22)), 2)
	if err := r.install(r.sites[0]); err != nil {
		t.Fatal(err)
	}
	broken := r.sites[1]
	if leads {
		broken = r.sites[0]
	}
	start := -1
	broken.disk.FailWith(func(op int, _ string) error {
		if start < 0 {
			start = op
		}
		if op-start != n {
			return nil
		}
		failed = true
		return errno
	})
	for range 120 {
		if err := r.step(); err != nil {
			if full := errno == syscall.ENOSPC; !errors.Is(err, errno) && (!full || !errors.Is(err, ErrRecycled)) {
				t.Errorf("seed %d, operation %d: %v", seed, n, err)
			}
			break
		}
	}
	broken.disk.FailWith(nil)
	for _, s := range r.sites {
		for range 3 {
			if err := r.survives(s, s.disk.PowerCut(r.rng)); err != nil {
				t.Errorf("seed %d, operation %d: %v", seed, n, err)
			}
		}
	}
	return failed
}
