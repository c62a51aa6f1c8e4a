package volume

import (
	"errors"
	"path"
	"reflect"
	"testing"

	"github.com/ballast-io/ballast/internal/crashfs"
	"github.com/ballast-io/ballast/internal/vfs"
)

// TestCheckOfCopy checks a copy in every state that it can be in: it is whole in all of
// them, and looking changes nothing.
func TestCheckOfCopy(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(t *testing.T, disk *crashfs.FS)
		want Report
	}{
		"empty": {func(t *testing.T, disk *crashfs.FS) {
			newCopy(t, disk, testSize)
		}, Report{Incomplete: true}},
		"its first chunks": {func(t *testing.T, disk *crashfs.FS) {
			newCopy(t, disk, testSize)
			stageOne(t, disk)
		}, Report{Incomplete: true, Epoch: 3, Staged: 1}},
		"follows, and has promised": {func(t *testing.T, disk *crashfs.FS) {
			f := newFollower(t, disk)
			appendAll(t, f, batchOf(1, 1, 11, 12), batchOf(1, 3, 13))
			if err := errors.Join(f.Follow(2, Lineage{{1, 1}, {2, 3}}, 2), f.Promise(5), f.Close()); err != nil {
				t.Fatal(err)
			}
		}, Report{Epoch: 5, Records: 2}},
		"died in the middle of a round": {func(t *testing.T, disk *crashfs.FS) {
			f := newFollower(t, disk)
			appendAll(t, f, batchOf(1, 1, 11, 12))
			f.Commit(2)
			interruptRound(t, f.v)
		}, Report{Epoch: 1, Records: 2}},
		"chunks beside it": {func(t *testing.T, disk *crashfs.FS) {
			f := newFollower(t, disk)
			appendAll(t, f, batchOf(1, 1, 11, 12))
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			stageOne(t, disk)
		}, Report{Epoch: 3, Records: 2, Staged: 1}},
		"damaged chunks beside it, which come again": {func(t *testing.T, disk *crashfs.FS) {
			f := newFollower(t, disk)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			stageOne(t, disk)
			damage(t, disk, path.Join(testDir, stagingDir, pointName))
		}, Report{Epoch: 3}},
		"merging": {mergingCopy, Report{Epoch: 3, Records: 2, Incomplete: true, Merging: true, Staged: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			disk := crashfs.New()
			tt.make(t, disk)
			disk.KeepTrace()
			got, err := Check(disk, testDir)
			if err != nil || len(got.Damage) > 0 {
				t.Errorf("Check = %v, %v; want no damage", got.Damage, err)
			}
			tt.want.Identity = Identity{"test", testSize}
			got.Segments, got.Batches, got.Chunks, got.Last, got.Damage = 0, 0, 0, 0, nil
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Check = %+v; want %+v", got, tt.want)
			}
			if ops := disk.Trace(); len(ops) > 0 {
				t.Errorf("looking does %q", ops)
			}
		})
	}
}

// stageOne leaves a staging with a chunk behind.
func stageOne(t *testing.T, disk vfs.FS) {
	t.Helper()
	f := openFollower(t, disk)
	s, err := f.Stage(StagePoint{LSN: 9, Epoch: 3, Size: testSize, Lineage: Lineage{{3, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Put(0, 7, nil), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// mergingCopy makes one that died when it was marked as merging.
func mergingCopy(t *testing.T, disk *crashfs.FS) {
	t.Helper()
	f := newFollower(t, disk)
	appendAll(t, f, batchOf(1, 1, 11, 12))
	s, err := f.Stage(StagePoint{LSN: 9, Epoch: 3, Size: testSize, Lineage: Lineage{{3, 1}}})
	if err == nil {
		err = errors.Join(s.Put(0, 7, nil), s.settleNow(), f.beginMerge(s))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// damage flips a byte of a file.
func damage(t *testing.T, disk vfs.FS, name string) {
	t.Helper()
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1)
	if _, err := f.ReadAt(p, 20); err != nil {
		t.Fatal(err)
	}
	p[0] ^= 1
	if _, err := f.WriteAt(p, 20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCheckOfMergeWithoutChunks takes from a merge what it cannot do without.
func TestCheckOfMergeWithoutChunks(t *testing.T) {
	for name, spoil := range map[string]func(disk *crashfs.FS){
		"gone":    func(disk *crashfs.FS) { _ = disk.Remove(path.Join(testDir, stagingDir, pointName)) },
		"damaged": func(disk *crashfs.FS) { damage(t, disk, path.Join(testDir, stagingDir, pointName)) },
	} {
		t.Run(name, func(t *testing.T) {
			disk := crashfs.New()
			mergingCopy(t, disk)
			spoil(disk)
			if rep, err := Check(disk, testDir); err != nil || len(rep.Damage) != 1 {
				t.Errorf("Check = %v, %v; want damage", rep.Damage, err)
			}
		})
	}
}
