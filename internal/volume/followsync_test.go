package volume

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// TestFollowerAppendsDuringSync appends, syncs, commits, folds and reads at once.
func TestFollowerAppendsDuringSync(t *testing.T) {
	disk := crashfs.New()
	f := newFollower(t, disk)
	f.v.opts.LogCapacity = 100 * small.Segment // with the default, syncs may fall behind too far
	const records = 2000
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		defer close(done)
		for lsn := ballast.LSN(1); lsn <= records; lsn++ {
			b := batchOf(1, lsn, uint64(lsn))
			b.Records[0].Block = ballast.Block(lsn % testBlocks)
			if err := f.Append(b); err != nil {
				t.Errorf("Append %d: %v", lsn, err)
				return
			}
		}
	})
	for range 2 {
		all.Go(func() {
			for durable := ballast.LSN(0); ; {
				next, err := f.Sync()
				if err != nil || next < durable {
					t.Errorf("Sync = %d after %d, %v", next, durable, err)
					return
				}
				durable = next
				f.Commit(durable)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	all.Go(func() {
		p := make([]byte, ballast.ChunkSize)
		for {
			if err := f.ReadChunk(t.Context(), 0, p); err != nil {
				t.Errorf("ReadChunk: %v", err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	all.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = openFollower(t, disk)
	want, got := make([]byte, blockSize), make([]byte, blockSize)
	for block := range testBlocks {
		lsn := records - (records-block)%testBlocks
		p := batchOf(1, ballast.LSN(lsn), uint64(lsn)).Data
		copy(want, p)
		if _, err := f.v.ReadAt(got, int64(block)*blockSize); err != nil || !bytes.Equal(got, want) {
			t.Errorf("block %d is not of record %d: %v", block, lsn, err)
		}
	}
}

// TestFailedSyncOfCopyIsForever breaks one sync: of two that were under way, and of
// all later ones, none must succeed (V6).
func TestFailedSyncOfCopyIsForever(t *testing.T) {
	disk := crashfs.New()
	f := newFollower(t, disk)
	appendAll(t, f, batchOf(1, 1, 1))
	if err := f.Append(batchOf(1, 2, 2)); err != nil {
		t.Fatal(err)
	}
	disk.FailWith(func(_ int, kind string) error {
		if kind == "sync" {
			return syscall.EIO
		}
		return nil
	})
	if _, err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Sync on a failing disk = %v; want EIO", err)
	}
	disk.FailWith(nil)
	if durable, err := f.Sync(); !errors.Is(err, syscall.EIO) || durable != 1 {
		t.Errorf("Sync on a disk that works again = %d, %v; want 1 and EIO for ever", durable, err)
	}
	if err := f.Append(batchOf(1, 3, 3)); !errors.Is(err, syscall.EIO) {
		t.Errorf("Append after a failed sync = %v; want EIO for ever", err)
	}
	if err := f.v.log.syncSegment(f.v.log.current()); !errors.Is(err, syscall.EIO) {
		t.Errorf("a sync that was under way = %v; want EIO", err)
	}
	if st := f.State(); st.Err == nil || st.Durable != 1 {
		t.Errorf("the copy is %+v; want an error", st)
	}
	if err := f.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// TestLeaderInterruptsFolding lets a leader come while a slow round of apply is under
// way: it must not wait for the round's end, whatever it wants.
func TestLeaderInterruptsFolding(t *testing.T) {
	for name, do := range map[string]func(f *Follower) error{
		"follow": func(f *Follower) error { return f.Follow(2, Lineage{{1, 1}, {2, 21}}, 20) },
		"grow":   func(f *Follower) error { return f.Resize(2 * testSize) },
		"stage": func(f *Follower) error {
			s, err := f.Stage(StagePoint{LSN: 20, Epoch: 1, Size: testSize, Lineage: Lineage{{1, 1}}})
			if err != nil {
				return err
			}
			return s.Close()
		},
		"compare": func(f *Follower) error { _ = f.Changed(0); return nil },
	} {
		t.Run(name, func(t *testing.T) { interruptsFolding(t, do) })
	}
}

func interruptsFolding(t *testing.T, do func(f *Follower) error) {
	disk := crashfs.New()
	f := newFollower(t, disk)
	for lsn := range ballast.LSN(20) {
		b := batchOf(1, lsn+1, uint64(lsn+1))
		b.Records[0].Block = ballast.Block(2 * lsn) // pieces of their own
		appendAll(t, f, b)
	}
	f.Commit(20)
	var followed <-chan error
	disk.FailWith(func(_ int, kind string) error {
		if kind == "write" && followed == nil {
			followed = later(func() error { return do(f) })
			for f.v.urgent.Load() == 0 {
				runtime.Gosched()
			}
		}
		return nil
	})
	f.v.applying.Lock()
	err := f.v.round(f.v.paced(t.Context()))
	f.v.applying.Unlock()
	if !errors.Is(err, errInterrupted) {
		t.Errorf("the round ended with %v; want it interrupted", err)
	}
	if err := <-followed; err != nil {
		t.Error(err)
	}
	fold(t, f)
	if st := f.State(); st.Applied != 20 {
		t.Errorf("applied = %d; want all folded afterwards", st.Applied)
	}
}
