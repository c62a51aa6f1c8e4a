package repository

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ballast-io/ballast"
)

func TestSaveStoresABlobOnce(t *testing.T) {
	r, m := newTestRepository(t)
	w := r.NewWriter()
	defer w.Close()
	for i, want := range []bool{true, false} {
		id, added, err := w.Save(t.Context(), DataBlob, []byte("once"))
		if err != nil || added != want || id != Hash([]byte("once")) {
			t.Errorf("save %d = %v, %t, %v; want added %t", i, id, added, err, want)
		}
	}
	if _, added, err := w.Save(t.Context(), TreeBlob, []byte("once")); err != nil || !added {
		t.Errorf("a tree of the bytes of data: added %t, %v; want it added", added, err)
	}
	if r.HasBlob(DataBlob, Hash([]byte("once"))) {
		t.Error("the index names a blob that is not durable (A1)")
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if size, there := r.BlobSize(DataBlob, Hash([]byte("once"))); !there || size != 4 {
		t.Errorf("BlobSize = %d, %t; want 4", size, there)
	}
	other := r.again(t, m)
	if err := other.LoadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, added, err := other.NewWriter().Save(t.Context(), DataBlob, []byte("once")); err != nil || added {
		t.Errorf("another writer: added %t, %v; want it known", added, err)
	}
	if packs := m.names(dataFolder); len(packs) != 2 {
		t.Errorf("packs are %q; want one of data and one of trees", packs)
	}
}

// A1: whatever call is the last that a writer makes, what refers refers to what is there.
func TestSaveSurvivesACrashAtEveryCall(t *testing.T) {
	r, whole := newTestRepository(t)
	files := map[string][]byte{"file00": mixed(rand.New(rand.NewPCG(1, 1)), 3<<19), "file01": {}}
	for n := 1; ; n++ {
		for _, done := range []bool{false, true} {
			m := whole.clone()
			m.fail = func(call int, _, _ string) (error, bool) {
				if call >= n {
					return errors.New("crash"), done && call == n
				}
				return nil, false
			}
			_, err := saveFiles(t.Context(), r.again(t, m), files, 100_000)
			calls := m.calls
			m.fail = nil
			after := r.again(t, m)
			for _, p := range problems(t, after) {
				t.Errorf("after a crash at call %d, done %t: %v", n, done, p)
			}
			if snapshots, errList := after.Snapshots(t.Context()); errList != nil || (err == nil) != (len(snapshots) == 1) && !done {
				t.Errorf("after a crash at call %d: %d snapshots, %v; saving them says %v", n, len(snapshots), errList, err)
			}
			if err == nil && calls < n {
				return
			}
		}
	}
}

// A writer that failed once does not pretend that what it saved is there.
func TestAFailedWriterStaysFailed(t *testing.T) {
	r, m := newTestRepository(t)
	w := r.NewWriter()
	defer w.Close()
	if _, _, err := w.Save(t.Context(), DataBlob, []byte("x")); err != nil {
		t.Fatal(err)
	}
	errFull := errors.New("the store is full")
	m.fail = func(_ int, op, _ string) (error, bool) {
		if op == "put" {
			return errFull, false
		}
		return nil, false
	}
	if err := w.Flush(t.Context()); !errors.Is(err, errFull) {
		t.Errorf("Flush = %v; want %v", err, errFull)
	}
	m.fail = nil
	if err := w.Flush(t.Context()); !errors.Is(err, errFull) {
		t.Errorf("a second Flush = %v; want %v", err, errFull)
	}
	if _, _, err := w.Save(t.Context(), DataBlob, []byte("y")); !errors.Is(err, errFull) {
		t.Errorf("Save = %v; want %v", err, errFull)
	}
	if _, err := r.SaveSnapshot(t.Context(), &Snapshot{Tree: Hash([]byte("x"))}); !errors.Is(err, ballast.ErrInvalid) {
		t.Errorf("SaveSnapshot of a tree that was never saved = %v; want %v", err, ballast.ErrInvalid)
	}
}

// slow is a store whose puts end when they are told to.
type slow struct {
	*memory
	puts chan chan error
}

func (s *slow) Put(ctx context.Context, name string, data []byte) error {
	if !strings.HasPrefix(name, dataFolder) {
		return s.memory.Put(ctx, name, data)
	}
	answer := make(chan error)
	select {
	case s.puts <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		if err != nil {
			return err
		}
		return s.memory.Put(ctx, name, data)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A store that is slow makes Save wait: memory is bounded. Whoever waits can give up.
func TestASlowStoreMakesSaveWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newTestRepository(t)
		s := &slow{m, make(chan chan error)}
		r.store = s
		r.target = packTarget
		w := r.NewWriter()
		ctx, cancel := context.WithCancel(t.Context())
		saved := make(chan int, 1)
		go func() {
			n := 0
			for ; ; n++ {
				data := make([]byte, 1<<20)
				rng := rand.New(rand.NewPCG(uint64(n), 1))
				for i := range data {
					data[i] = byte(rng.Uint32())
				}
				if _, _, err := w.Save(ctx, DataBlob, data); err != nil {
					break
				}
			}
			saved <- n
		}()
		synctest.Wait()
		select {
		case n := <-saved:
			t.Fatalf("saving ended after %d MiB by itself", n)
		default:
		}
		cancel()
		if n := <-saved; n < 32 || n > 50 {
			t.Errorf("%d MiB were taken while the store took none; want about %d", n, (maxUploads+1)*packTarget>>20)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Several writers at once, of several goroutines each.
func TestManyWriters(t *testing.T) {
	r, m := newTestRepository(t)
	var wg sync.WaitGroup
	for writer := range 4 {
		wg.Go(func() {
			w := r.NewWriter()
			defer w.Close()
			var each sync.WaitGroup
			for k := range 3 {
				each.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(k), 9)) // shared by writers
					for range 40 {
						if _, _, err := w.Save(t.Context(), DataBlob, mixed(rng, 20_000)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			each.Wait()
			if err := w.Flush(t.Context()); err != nil {
				t.Error(writer, err)
			}
		})
	}
	wg.Wait()
	for _, p := range problems(t, r) {
		t.Error(p)
	}
	restic(t, m.dump(t), "check", "--read-data")
}

// A long upload is in the index before its end.
func TestAnIndexEverySoOften(t *testing.T) {
	r, m := newTestRepository(t)
	w := r.NewWriter()
	defer w.Close()
	for i := range packsPerIndex {
		pack := indexedPack{Hash([]byte(fmt.Sprint(i))), []placedBlob{{packBlob{id: Hash([]byte{byte(i)}), length: 100}, 0}}}
		if n := len(m.names(indexFolder)); n != 0 {
			t.Fatalf("after %d packs there are %d index files; want none", i, n)
		}
		if err := w.uploaded(pack); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.names(indexFolder)); n != 1 {
		t.Errorf("there are %d index files; want one", n)
	}
}

func TestIndexFilesAreNotTooLarge(t *testing.T) {
	packs := make([]indexedPack, 5)
	for i, n := range []int{30_000, 20_000, 1, 80_000, 7} {
		packs[i].blobs = make([]placedBlob, n)
	}
	var got []int
	for _, some := range portions(packs) {
		got = append(got, len(some))
	}
	if want := []int{2, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("packs are cut as %v; want %v", got, want)
	}
}

// The index of a volume of 1 TiB fits: about 64 bytes a blob, packs included.
func TestIndexIsCompact(t *testing.T) {
	const n = 1 << 18
	before := heap()
	x := justIndex(n)
	perBlob := float64(heap()-before) / n
	runtime.KeepAlive(x)
	if perBlob > 66 {
		t.Errorf("a blob takes %.0f bytes; want about 64", perBlob)
	}
}

func justIndex(n int) *index {
	x, _ := bigIndex(n)
	return x
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What one index file names and another does not stays when either goes.
func TestIndexForgets(t *testing.T) {
	x := newIndex()
	blob := func(b byte) placedBlob { return placedBlob{packBlob{Hash([]byte{b}), DataBlob, 100, 0}, 0} }
	p1, p2 := indexedPack{Hash([]byte("p1")), []placedBlob{blob(1)}}, indexedPack{Hash([]byte("p2")), []placedBlob{blob(2)}}
	f1, f2 := Hash([]byte("f1")), Hash([]byte("f2"))
	x.add(f1, []indexedPack{p1, p2})
	x.add(f2, []indexedPack{p2, {Hash([]byte("p3")), []placedBlob{blob(1)}}})
	x.add(f2, []indexedPack{p1}) // the same file again
	if n := len(x.locate(blobID{DataBlob, Hash([]byte{1})})); n != 2 {
		t.Errorf("the blob has %d places; want 2", n)
	}
	x.forget([]ID{f1})
	if n := len(x.locate(blobID{DataBlob, Hash([]byte{1})})); n != 1 {
		t.Errorf("the blob has %d places; want 1", n)
	}
	if !x.has(blobID{DataBlob, Hash([]byte{2})}) {
		t.Error("a pack that another file names is forgotten")
	}
	x.forget([]ID{f2})
	if x.has(blobID{DataBlob, Hash([]byte{2})}) || len(x.contents()) != 0 || len(x.known()) != 0 {
		t.Error("something is left of an index without files")
	}
}

// A reader without a lock finds what a prune has moved.
func TestLoadBlobFollowsAPrune(t *testing.T) {
	r, m, kept := pruned(t)
	reader := r.again(t, m)
	if err := reader.LoadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Prune(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	snapshots, err := reader.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range snapshots {
		got, err := loadFiles(t.Context(), reader, s.Tree)
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, got, kept[s.ID])
	}
}

// Without a lock, index files may be replaced between the list and the read.
func TestLoadIndexFollowsAPrune(t *testing.T) {
	r, m, kept := pruned(t)
	reader := r.again(t, m)
	pruning := false
	m.fail = func(_ int, op, name string) (error, bool) {
		if op == "get" && strings.HasPrefix(name, indexFolder) && !pruning {
			pruning = true
			prunedNow := m.objects // its lock is held by this call
			if err := r.again(t, &memory{objects: prunedNow}).Prune(t.Context(), nil, nil); err != nil {
				t.Error(err)
			}
		}
		return nil, false
	}
	if err := reader.LoadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.fail = nil
	wholeAndSame(t, reader, kept)
	if !pruning {
		t.Error("nothing was pruned")
	}
}
