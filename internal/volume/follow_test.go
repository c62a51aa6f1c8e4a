package volume

import (
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

// batchOf makes a batch with a record of one block for every tag; 0 is a discard.
func batchOf(epoch ballast.Epoch, first ballast.LSN, tags ...uint64) Batch {
	b := Batch{Epoch: epoch, First: first}
	for i, tag := range tags {
		block := int(first) + i
		r := Record{Block: ballast.Block(block), Count: 1, Discard: tag == 0}
		if tag != 0 {
			p := make([]byte, blockSize)
			paint(p, tag, block)
			r.CRC = dataSum(p)
			b.Data = append(b.Data, p...)
		}
		b.Records = append(b.Records, r)
	}
	return b
}

func openFollower(t *testing.T, fsys vfs.FS) *Follower {
	t.Helper()
	f, err := OpenFollower(fsys, testDir, followSmall)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// newFollower makes a copy that follows e1 and has nothing.
func newFollower(t *testing.T, fsys vfs.FS) *Follower {
	t.Helper()
	makeSmall(t, fsys)
	f := openFollower(t, fsys)
	if err := f.Follow(1, Lineage{{1, 1}}, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func appendAll(t *testing.T, f *Follower, batches ...Batch) {
	t.Helper()
	for _, b := range batches {
		if err := f.Append(b); err != nil {
			t.Fatal(err)
		}
		if durable, err := f.Sync(); err != nil || durable != b.Last() {
			t.Fatalf("Sync = %d, %v; want %d", durable, err, b.Last())
		}
	}
}

// readBlock returns the tag that a block of the copy was painted with.
func readBlock(t *testing.T, f *Follower, block int) uint64 {
	t.Helper()
	p := make([]byte, blockSize)
	if _, err := f.v.ReadAt(p, int64(block)*blockSize); err != nil {
		t.Fatal(err)
	}
	return tagOf(p, block)
}

// TestFollowerRefuses offers what no copy must take.
func TestFollowerRefuses(t *testing.T) {
	damaged := batchOf(1, 3, 7)
	damaged.Data[5]++
	short := batchOf(1, 3, 7)
	short.Data = short.Data[:blockSize-1]
	long := batchOf(1, 3, 7)
	long.Data = append(long.Data, 1)
	outside := batchOf(1, 3, 7)
	outside.Records[0].Block = testBlocks
	wide := batchOf(1, 3, 0)
	wide.Records[0].Count = testBlocks + 1
	none := batchOf(1, 3, 0)
	none.Records[0].Count = 0
	huge := batchOf(1, 3, 7)
	huge.Records[0].Count = 16
	huge.Data = make([]byte, 16*blockSize)
	huge.Records[0].CRC = dataSum(huge.Data)
	for _, tt := range []struct {
		name string
		b    Batch
		want error
	}{
		{"a gap", batchOf(1, 4, 7), ErrGap},
		{"what is here already", batchOf(1, 2, 7), ErrGap},
		{"a lower epoch", batchOf(0, 3, 7), ErrStaleEpoch},
		{"a higher epoch", batchOf(2, 3, 7), ErrStaleEpoch},
		{"no records", Batch{Epoch: 1, First: 3}, ballast.ErrInvalid},
		{"too many records", batchOf(1, 3, make([]uint64, maxRecords+1)...), ballast.ErrInvalid},
		{"a flipped bit", damaged, ballast.ErrInvalid},
		{"too few bytes", short, ballast.ErrInvalid},
		{"too many bytes", long, ballast.ErrInvalid},
		{"a block outside of the volume", outside, ballast.ErrInvalid},
		{"a discard beyond its end", wide, ballast.ErrInvalid},
		{"a record of nothing", none, ballast.ErrInvalid},
		{"a record larger than a segment", huge, ballast.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFollower(t, crashfs.New())
			appendAll(t, f, batchOf(1, 1, 5, 6))
			if err := f.Append(tt.b); !errors.Is(err, tt.want) {
				t.Errorf("Append = %v; want %v", err, tt.want)
			}
			appendAll(t, f, batchOf(1, 3, 8))
			if got := readBlock(t, f, 3); got != 8 || f.State().Last != 3 {
				t.Errorf("then block 3 is version %d and the log ends at %d; want 8 and 3", got, f.State().Last)
			}
		})
	}
}

// TestFollowIsRefused asks a copy to follow what it must not.
func TestFollowIsRefused(t *testing.T) {
	setUp := func(t *testing.T, disk vfs.FS) *Follower {
		f := newFollower(t, disk)
		appendAll(t, f, batchOf(1, 1, 5, 6), batchOf(1, 3, 7))
		f.Commit(3)
		fold(t, f)
		if err := f.Follow(4, Lineage{{1, 1}, {4, 4}}, 3); err != nil {
			t.Fatal(err)
		}
		appendAll(t, f, batchOf(4, 4, 8), batchOf(4, 5, 9))
		return f
	}
	for _, tt := range []struct {
		name    string
		epoch   ballast.Epoch
		lineage Lineage
		cut     ballast.LSN
		want    error
		then    ballast.Epoch // that it follows, or has promised
	}{
		{"a lower epoch", 3, Lineage{{1, 1}, {3, 4}}, 3, ErrStaleEpoch, 4},
		{"the first epoch", 1, Lineage{{1, 1}}, 3, ErrStaleEpoch, 4},
		{"a lineage of another epoch", 5, Lineage{{1, 1}, {4, 4}}, 5, ballast.ErrInvalid, 4},
		{"no lineage", 5, nil, 5, ballast.ErrInvalid, 4},
		{"epochs out of order", 5, Lineage{{4, 1}, {1, 4}, {5, 6}}, 5, ballast.ErrInvalid, 4},
		{"behind its end", 5, Lineage{{1, 1}, {4, 4}, {5, 7}}, 6, ballast.ErrInvalid, 5},
		{"before its image", 5, Lineage{{1, 1}, {5, 2}}, 1, ErrDiverged, 5},
		{"another record at the cut", 5, Lineage{{1, 1}, {2, 4}, {5, 6}}, 5, ErrDiverged, 5},
		{"a lineage that was forgotten", 5, Lineage{{5, 6}}, 5, ErrDiverged, 5},
		{"a cut that leaves records in force", 5, Lineage{{1, 1}, {4, 4}, {5, 6}}, 4, ballast.ErrInvalid, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := crashfs.New()
			f := setUp(t, disk)
			if err := f.Follow(tt.epoch, tt.lineage, tt.cut); !errors.Is(err, tt.want) {
				t.Errorf("Follow = %v; want %v", err, tt.want)
			}
			for range 2 {
				if st := f.State(); st.Epoch != tt.then || st.Last != 5 || !slices.Equal(st.Lineage, Lineage{{1, 1}, {4, 4}}) {
					t.Errorf("then it is %+v; want all as before, and %v", st, tt.then)
				}
				if err := f.Append(batchOf(4, 6, 1)); tt.then > 4 != errors.Is(err, ErrStaleEpoch) {
					t.Errorf("Append of e4 after %v = %v (R4)", tt.then, err)
				}
				if tt.then == 4 {
					return
				}
				disk = disk.PowerCut(rand.New(rand.NewPCG(1, 21)))
				f = openFollower(t, disk)
			}
			if _, err := Open(disk, testDir, Options{Epoch: tt.then}); !errors.Is(err, ErrStaleEpoch) {
				t.Errorf("Open under %v = %v; want ErrStaleEpoch", tt.then, err)
			}
		})
	}
}

func fold(t *testing.T, f *Follower) {
	t.Helper()
	s := &site{f: f}
	for before := ^ballast.LSN(0); f.State().Applied != before; {
		before = f.State().Applied
		if err := s.fold(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFollowCuts cuts records whose lineage comes back later: what stood behind the
// cut must neither return nor bear witness against what is here.
func TestFollowCuts(t *testing.T) {
	disk := crashfs.New()
	f := newFollower(t, disk)
	for lsn := range ballast.LSN(6) {
		appendAll(t, f, batchOf(1, lsn+1, uint64(lsn+1)))
	}
	if err := f.Follow(2, Lineage{{1, 1}, {2, 4}}, 3); err != nil {
		t.Fatal(err)
	}
	if st := f.State(); st.Last != 3 || st.Durable != 3 {
		t.Errorf("after a cut behind 3 it is at %d, durable %d", st.Last, st.Durable)
	}
	appendAll(t, f, batchOf(2, 4, 50))
	if err := f.Follow(3, Lineage{{1, 1}, {3, 7}}, 3); err != nil {
		t.Fatalf("Follow of a leader that has what was cut = %v", err)
	}
	f = openFollower(t, disk.PowerCut(rand.New(rand.NewPCG(1, 21))))
	if st := f.State(); st.Last != 3 || readBlock(t, f, 4) != 0 || readBlock(t, f, 3) != 3 {
		t.Errorf("opened again at %d, with version %d in block 4", st.Last, readBlock(t, f, 4))
	}
	appendAll(t, f, batchOf(1, 4, 4), batchOf(1, 5, 5), batchOf(1, 6, 6), batchOf(3, 7, 7))
}

// TestFollowerReadsForAHollowLeader wants a chunk as the leader began with it or later,
// and never with what is not committed.
func TestFollowerReadsForAHollowLeader(t *testing.T) {
	disk := crashfs.New()
	f := newFollower(t, disk)
	p := make([]byte, ballast.ChunkSize)
	read := func(block int) uint64 {
		t.Helper()
		if err := f.ReadChunk(t.Context(), 0, p); err != nil {
			t.Fatal(err)
		}
		return tagOf(p[block*blockSize:][:blockSize], block)
	}
	appendAll(t, f, batchOf(1, 1, 5), batchOf(1, 2, 6))
	if got := read(1); got != 0 {
		t.Errorf("what is not committed is read: version %d", got)
	}
	// A leader begins here: all that this copy has is its history.
	if err := f.Follow(2, f.State().Lineage.Next(2, 3), 2); err != nil {
		t.Fatal(err)
	}
	appendAll(t, f, batchOf(2, 3, 7), batchOf(2, 4, 8))
	for range 2 {
		if read(1) != 5 || read(2) != 6 || read(3) != 0 || read(4) != 0 {
			t.Errorf("read versions %d, %d, %d and %d; want 5, 6, none and none", read(1), read(2), read(3), read(4))
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f = openFollower(t, disk)
	}
	f.Commit(4)
	if read(4) != 8 {
		t.Errorf("version %d is read of what is committed; want 8", read(4))
	}
	fold(t, f)
	if read(4) != 8 || f.State().Applied != 4 {
		t.Errorf("version %d is read of what is folded; want 8", read(4))
	}
	if err := f.Follow(3, f.State().Lineage.Next(3, 9), 4); err != nil {
		t.Fatal(err)
	}
	if err := f.ReadChunk(t.Context(), 0, p); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("ReadChunk of a copy that lacks what its leader began with = %v; want ErrNotReady", err)
	}
	if err := f.ReadChunk(t.Context(), 1, p); !errors.Is(err, ErrRange) && !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("ReadChunk outside = %v", err)
	}
}

// TestFollowerIncomplete has a copy that has nothing yet: it takes no records and is no volume.
func TestFollowerIncomplete(t *testing.T) {
	disk := crashfs.New()
	if err := disk.Mkdir(testDir); err != nil {
		t.Fatal(err)
	}
	if err := CreateFollower(disk, testDir, Identity{"test", testSize}); err != nil {
		t.Fatal(err)
	}
	f := openFollower(t, disk)
	if st := f.State(); st.Complete || st.Last != 0 || st.Epoch != 0 {
		t.Errorf("a new copy is %+v", st)
	}
	if err := f.Follow(3, Lineage{{3, 100}}, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Append(batchOf(3, 1, 1)); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("Append = %v; want ErrNotReady", err)
	}
	if err := f.ReadChunk(t.Context(), 0, make([]byte, ballast.ChunkSize)); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("ReadChunk = %v; want ErrNotReady", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(disk, testDir, Options{Epoch: 9}); !errors.Is(err, ballast.ErrNotReady) {
		t.Errorf("Open = %v; want ErrNotReady", err)
	}
	if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) > 0 {
		t.Errorf("Check: %v %v", err, rep.Damage)
	}
	f = openFollower(t, disk)
	if st := f.State(); st.Complete || st.Epoch != 3 {
		t.Errorf("opened again it is %+v; want incomplete, and of e3", st)
	}
}

// TestFollowerTakesMoreThanItsLog appends, uncommitted, more than the log's capacity: the
// leader could not commit it if the copy did not take it. What is committed is folded
// to make room.
func TestFollowerTakesMoreThanItsLog(t *testing.T) {
	f := newFollower(t, crashfs.New())
	limit := f.v.segmentLimit()
	lsn, err := ballast.LSN(0), error(nil)
	for err == nil {
		lsn++
		b := batchOf(1, lsn, uint64(lsn))
		b.Records[0].Block = 9
		err = f.Append(b)
	}
	if used := f.v.load().used; !errors.Is(err, syscall.ENOSPC) || used != overCapacity*limit {
		t.Fatalf("after %d records in %d segments: %v; want room in %d", lsn, used, err, overCapacity*limit)
	}
	f.Commit(lsn - 10)
	b := batchOf(1, lsn, 1)
	if err := f.Append(b); err != nil {
		t.Fatalf("Append with something to fold = %v", err)
	}
	if used := f.v.load().used; used > limit {
		t.Errorf("the log has %d segments, and most of it is committed; want %d", used, limit)
	}
	if st := f.State(); st.Applied > lsn-10 {
		t.Errorf("%d are in the image, committed were %d (R5)", st.Applied, lsn-10)
	}
}

// TestFollowerResize grows a copy before what needs it comes.
func TestFollowerResize(t *testing.T) {
	disk := crashfs.New()
	f := newFollower(t, disk)
	b := batchOf(1, 1, 5)
	b.Records[0].Block = testBlocks + 3
	if err := f.Append(b); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("Append behind the end = %v; want ErrInvalid", err)
	}
	if err := f.Resize(2 * testSize); err != nil {
		t.Fatal(err)
	}
	appendAll(t, f, b)
	f = openFollower(t, disk.PowerCut(rand.New(rand.NewPCG(1, 21))))
	if st := f.State(); st.Size != 2*testSize || st.Last != 1 {
		t.Errorf("opened again it is %+v", st)
	}
}
