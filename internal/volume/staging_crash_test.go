package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// passage is the way of a copy from one point to another, which can be cut short
// before every operation of its disk.
type passage struct {
	*rebuilt
	old      []byte      // the copy at the old point; nil: it was no volume yet
	oldLSN   ballast.LSN // where its log ends there
	to       ballast.LSN // the new point
	ending   bool        // Finish was called
	ended    bool        // and has returned nil
	cuts     int
	mended   int // cuts after which the copy was brought to the leader's state
	reused   int // chunks that an earlier staging spared
	epoch    ballast.Epoch
	diverged bool
}

// newPassage makes a copy that has nothing, is behind, or has a history of its own.
func newPassage(t testing.TB, rng *rand.Rand, kind uint64) *passage {
	t.Helper()
	p := &passage{rebuilt: newRebuilt(t, rng), epoch: 70}
	err := p.workFor(t.Context(), 30)
	if kind%3 > 0 && err == nil {
		err = errors.Join(p.chunks(t.Context()), p.write(), p.discard(), p.write(), p.catchUp())
	}
	if kind%3 == 2 && err == nil {
		err = p.diverge(t)
	}
	if err == nil {
		err = errors.Join(p.workFor(t.Context(), 30), p.flush(), p.remember())
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *passage) workFor(ctx context.Context, steps int) error {
	for range steps {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// diverge lets the copy lead for a while that nobody knows of, and its leader lead
// again after that.
func (p *passage) diverge(t testing.TB) (err error) {
	p.diverged = true
	if err := p.f.Close(); err != nil {
		return err
	}
	own := newSheet(p.rng, p.blocks()/blocksPerChunk)
	own.tags = 1 << 40
	if own.v, err = openSmall(p.disk, 50); err != nil {
		return err
	}
	for len(own.versions) < int(own.v.Size()/blockSize) {
		own.versions = append(own.versions, nil)
	}
	for range 20 {
		err = errors.Join(err, own.write(), own.discard())
	}
	for range p.rng.IntN(3) + 1 {
		err = errors.Join(err, own.fold(t.Context()))
	}
	err = errors.Join(err, own.write(), own.v.Close(), p.v.Close())
	if err != nil {
		return err
	}
	if p.v, err = openSmall(p.home, 60); err != nil {
		return err
	}
	p.leader = p.v
	p.f, err = openCopyOf(p.disk)
	return err
}

// remember notes what the copy is now.
func (p *passage) remember() error {
	st := p.f.State()
	p.old, p.oldLSN, p.to, p.ending, p.ended = nil, st.Last, 0, false, false
	if !st.Complete {
		return nil
	}
	v, err := openSmall(p.disk.PowerCut(p.rng), 90)
	if err != nil {
		return err
	}
	p.old = make([]byte, v.Size())
	_, err = v.ReadAt(p.old, 0)
	return err
}

// reopen opens the copy, and cuts its power before the operations from then on.
func (p *passage) reopen(t testing.TB) {
	p.disk.BeforeEach(nil)
	var err error
	if p.f, err = openCopyOf(p.disk); err != nil {
		t.Fatal(err)
	}
	p.disk.KeepTrace()
	p.disk.BeforeEach(func(op int) {
		if p.rng.IntN(3) > 0 {
			return
		}
		p.cuts++
		if err := p.survives(t.Context(), p.disk.PowerCut(p.rng)); err != nil {
			t.Errorf("cut %d, before operation %d (ending: %t, ended: %t): %v", p.cuts, op, p.ending, p.ended, err)
		}
	})
}

// survives asks of what a power cut left that it is the old point or the new one, and now
// and then that it can be brought to where the leader is.
func (p *passage) survives(ctx context.Context, after *crashfs.FS) error {
	if err := p.isWhole(after); err != nil {
		return err
	}
	if p.rng.IntN(6) > 0 {
		return nil
	}
	p.mended++
	return p.mend(ctx, after)
}

// isWhole asks whether a copy is at one of the two points (R6).
func (p *passage) isWhole(disk *crashfs.FS) error {
	if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 {
		return fmt.Errorf("check: %w %v", err, rep.Damage)
	}
	again := disk.PowerCut(p.rng)
	f, err := openCopyOf(again)
	if err != nil {
		return err
	}
	st := f.State()
	if err := f.Close(); err != nil {
		return err
	}
	v, err := openSmall(again, 90)
	switch {
	case !st.Complete && (p.old != nil || p.ended):
		return errors.New("the copy is no volume any more")
	case !st.Complete:
		if !errors.Is(err, ballast.ErrNotReady) {
			return fmt.Errorf("open a copy that is no volume yet = %w; want ErrNotReady", err)
		}
		return nil
	case err != nil:
		return err
	}
	got := make([]byte, v.Size())
	if _, err := v.ReadAt(got, 0); err != nil {
		return err
	}
	last, _, _ := v.Position()
	switch {
	case last == p.to && p.ending && p.compare(got, last) == nil:
		return nil
	case last == p.oldLSN && !p.ended && p.old != nil && bytes.Equal(got, p.old):
		return nil
	}
	return fmt.Errorf("the copy is at LSN %d, and neither what it was at %d nor what it is to be at %d: %w", last, p.oldLSN, p.to, p.compare(got, last))
}

// mend does on a disk what would be done on the next day.
func (p *passage) mend(ctx context.Context, disk *crashfs.FS) error {
	f, err := openCopyOf(disk)
	if err != nil {
		return err
	}
	other := pull{leader: p.leader, f: f}
	if err := other.chunks(ctx); err != nil {
		return fmt.Errorf("mend: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return p.isAt(disk.PowerCut(p.rng), 91, f.State().Last)
}

// travel brings the copy to the leader's state, breaking off and losing power on the way.
func (p *passage) travel(t testing.TB) error {
	for done := false; !done; {
		if p.into == nil {
			if err := p.begin(t.Context()); err != nil {
				return err
			}
			for range p.into.Staged() {
				p.reused++
			}
			p.chooseWay()
			p.to = p.into.to.LSN
		}
		var err error
		if done, err = p.next(); err != nil {
			return err
		}
		if p.rng.IntN(3) == 0 {
			if err := p.into.settleNow(); err != nil {
				return err
			}
		}
		if !done && p.rng.IntN(6) == 0 {
			if err := errors.Join(p.breakOff(), p.workFor(t.Context(), 3)); err != nil {
				return err
			}
			p.disk = p.disk.PowerCut(p.rng)
			p.reopen(t)
		}
	}
	p.ending = true
	if err := p.finish(); err != nil {
		return err
	}
	p.ended = true
	return nil
}

// chooseWay has chunks copied into the image now and then that would become it: volumes are small
// here, and nearly all of one changes.
func (p *passage) chooseWay() { p.into.files.old = p.into.files.old || p.rng.IntN(2) == 0 }

// settleNow is what thirty-two chunks would do.
func (s *Staging) settleNow() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle()
}

// TestPowerCutWhileStaging cuts the power before the operations of a copy's disk while it is brought
// to another point, from nothing, from behind, and from a history of its own: it is at
// the old point or at the new one, and can go on from either (R6; G4).
func TestPowerCutWhileStaging(t *testing.T) {
	seeds := uint64(4 * sheetSeeds)
	if testing.Short() {
		seeds = min(seeds, 9)
	}
	var adopted, copied atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() && (adopted.Load() == 0 || copied.Load() == 0) {
			t.Errorf("staged chunks became the image %d times, and were copied into it %d times: want both", adopted.Load(), copied.Load())
		}
	})
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			p := newPassage(t, rand.New(rand.NewPCG(seed, 61)), seed)
			p.reopen(t)
			if err := p.travel(t); err != nil {
				t.Fatal(err)
			}
			p.disk.BeforeEach(nil)
			if p.adopted() {
				adopted.Add(1)
			} else if p.old != nil {
				copied.Add(1)
			}
			if err := p.catchUp(); err != nil {
				t.Error(err)
			}
			if err := p.isAt(p.disk.PowerCut(p.rng), 92, p.f.State().Last); err != nil {
				t.Error(err)
			}
			if p.cuts == 0 {
				t.Error("the power was never cut")
			}
		})
	}
}

// adopted reports whether the file of staged chunks was renamed to be the image.
func (p *passage) adopted() bool {
	return slices.ContainsFunc(p.disk.Trace(), func(op string) bool { return strings.HasPrefix(op, "rename") && strings.Contains(op, besideName) })
}

// TestFailingDiskWhileStaging makes the disk of a copy fail at its n-th operation, once or from
// then on, for every n of its way to another point: what is left is the old point
// or the new one, and after a full disk it goes on without being opened again (R6, V6; G6).
func TestFailingDiskWhileStaging(t *testing.T) {
	for _, tt := range []struct {
		name  string
		errno syscall.Errno
		lasts bool
	}{
		{"fails", syscall.EIO, false},
		{"is full once", syscall.ENOSPC, false},
		{"is full", syscall.ENOSPC, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stride := 3 * sheetStride
			if testing.Short() {
				stride *= 4
			}
			for n, more := 0, true; more; n += stride {
				more = stagingFailsAt(t, n, tt.errno, tt.lasts)
			}
		})
	}
}

func stagingFailsAt(t *testing.T, n int, errno syscall.Errno, lasts bool) (failed bool) {
	p := newPassage(t, rand.New(rand.NewPCG(uint64(n), 62)), uint64(n/3))
	start := -1
	p.disk.FailWith(func(op int, _ string) error {
		if start < 0 {
			start = op
		}
		if op-start == n || lasts && op-start > n {
			failed = true
			return errno
		}
		return nil
	})
	err := p.begin(t.Context())
	if err == nil {
		p.chooseWay()
	}
	for done := false; err == nil && !done; {
		if p.to = p.into.to.LSN; p.rng.IntN(2) == 0 {
			err = p.into.settleNow()
		}
		if err == nil {
			done, err = p.next()
		}
	}
	if err == nil {
		p.ending = true
		err = p.into.Finish()
		p.ended = err == nil
	}
	if unlessRefused(err, errno) != nil {
		t.Errorf("operation %d: %v", n, err)
	}
	for range 2 {
		if err := p.survives(t.Context(), p.disk.PowerCut(p.rng)); err != nil {
			t.Errorf("operation %d, after a power cut: %v", n, err)
		}
	}
	p.disk.FailWith(nil)
	if err := p.goOn(t.Context(), isFull(errno)); err != nil {
		t.Errorf("operation %d, when the disk works again: %v", n, err)
	}
	return failed
}

// goOn brings the copy to the leader's state once its disk works again: without opening
// it, when it was only full.
func (p *passage) goOn(ctx context.Context, wasFull bool) (err error) {
	_ = p.breakOff() // whatever the disk's failure left of it
	if p.f.State().Err != nil {
		if wasFull {
			return fmt.Errorf("a full disk has ended the copy: %w", p.f.State().Err)
		}
		if p.f, err = openCopyOf(p.disk); err != nil {
			return err
		}
	}
	p.pull = pull{leader: p.leader, f: p.f}
	err = p.chunks(ctx)
	if errors.Is(err, ballast.ErrNotReady) { // it had to finish what was left first
		err = p.chunks(ctx)
	}
	if err != nil {
		return err
	}
	return p.isAt(p.disk.PowerCut(p.rng), 93, p.f.State().Last)
}
