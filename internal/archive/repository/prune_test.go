package repository

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// problems runs a whole check.
func problems(t *testing.T, r *Repository) (all []error) {
	t.Helper()
	if err := r.Check(t.Context(), true, nil, func(err error) { all = append(all, err) }); err != nil {
		t.Fatal(err)
	}
	return all
}

// pruned is a repository in which there is something to do for every rule of prune:
// packs to keep, to rewrite and to delete, and an upload that did not finish.
func pruned(t *testing.T) (*Repository, *memory, map[ID]map[string][]byte) {
	t.Helper()
	r, m := newTestRepository(t)
	kept := map[ID]map[string][]byte{}
	var ids []ID
	for seed := range uint64(3) {
		files := someFiles(seed)
		id, err := saveFiles(t.Context(), r, files, 30_000)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		kept[id] = files
		rng := rand.New(rand.NewPCG(seed, 2)) // and of half of this, the next one makes use
		files["file04"] = append(mixed(rng, 30_000*8), files["file04"][:30_000*3]...)
		id, err = saveFiles(t.Context(), r, files, 30_000)
		if err != nil {
			t.Fatal(err)
		}
		kept[id] = maps.Clone(files)
		ids = append(ids, id)
	}
	for _, id := range []ID{ids[0], ids[2], ids[3]} {
		delete(kept, id)
		if err := r.RemoveSnapshot(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	// Both snapshots of a seed share the map: what is kept is what the second saved.
	delete(kept, ids[4])
	if err := r.RemoveSnapshot(t.Context(), ids[4]); err != nil {
		t.Fatal(err)
	}
	w := r.NewWriter()
	if _, _, err := w.Save(t.Context(), DataBlob, []byte("of an upload that ends here")); err != nil {
		t.Fatal(err)
	}
	pack, err := r.putPack(t.Context(), w.open[DataBlob])
	if err != nil {
		t.Fatal(err)
	}
	w.open[DataBlob] = nil
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(m.names(packFileName(pack.id))) != 1 {
		t.Fatal("the stray pack is not there")
	}
	return r, m, kept
}

// wholeAndSame asks for a repository that is whole and has these snapshots.
func wholeAndSame(t *testing.T, r *Repository, kept map[ID]map[string][]byte) {
	t.Helper()
	for _, p := range problems(t, r) {
		t.Errorf("check: %v", p)
	}
	snapshots, err := r.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshots) != len(kept) {
		t.Errorf("%d snapshots; want %d", len(snapshots), len(kept))
	}
	if err := r.LoadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range snapshots {
		got, err := loadFiles(t.Context(), r, s.Tree)
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, got, kept[s.ID])
	}
}

func TestPruneKeepsWhatSnapshotsNeedAndNothingElse(t *testing.T) {
	r, m, kept := pruned(t)
	before := size(m)
	plan, err := r.PlanPrune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"keep ", "rewrite ", "that no snapshot needs", "that did not finish", "replace "} {
		if !strings.Contains(strings.Join(plan.Lines(), "\n"), want) {
			t.Errorf("the plan has nothing to %q:\n%s", want, strings.Join(plan.Lines(), "\n"))
		}
	}
	if err := r.Prune(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	wholeAndSame(t, r, kept)
	wholeAndSame(t, r.again(t, m), kept)
	if freed := before - size(m); freed < plan.Frees()*9/10 {
		t.Errorf("%d bytes are free; the plan said %d", freed, plan.Frees())
	}
	again, err := r.PlanPrune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !again.Nothing() {
		t.Errorf("after a prune there is still something to do:\n%s", strings.Join(again.Lines(), "\n"))
	}
	restic(t, m.dump(t), "check", "--read-data")
}

func size(m *memory) (n int64) {
	for _, data := range m.clone().objects {
		n += int64(len(data))
	}
	return n
}

// A3: a prune that ends at any of its calls, done or not, leaves a whole repository, and the
// next one finishes the work.
func TestPruneSurvivesACrashAtEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m, kept := pruned(t)
		for n, calls := 1, 1; n <= calls; n++ {
			for _, done := range []bool{false, true} {
				crashed := m.clone()
				calls = crashPrune(t, r.again(t, crashed), crashed, n, done)
				for name := range crashed.objects {
					if strings.HasPrefix(name, locksFolder) {
						delete(crashed.objects, name) // its holder is dead; see lock_test.go
					}
				}
				wholeAndSame(t, r.again(t, crashed), kept)
				if n%9 == 0 && done {
					restic(t, crashed.dump(t), "check", "--read-data")
				}
				if err := r.again(t, crashed).Prune(t.Context(), nil, nil); err != nil {
					t.Fatalf("the prune after a crash at call %d: %v", n, err)
				}
				wholeAndSame(t, r.again(t, crashed), kept)
				if t.Failed() {
					t.Fatalf("after a crash at call %d, done %t", n, done)
				}
			}
		}
	})
}

// crashPrune prunes until the n-th call, and returns how many there would be if that
// is the last one.
func crashPrune(t *testing.T, r *Repository, m *memory, n int, done bool) int {
	t.Helper()
	errCrash := errors.New("crash")
	m.fail = func(call int, _, _ string) (error, bool) {
		if call < n {
			return nil, false
		}
		return errCrash, done && call == n
	}
	err := r.Prune(t.Context(), nil, nil)
	m.fail = nil
	if m.calls >= n && !errors.Is(err, errCrash) {
		t.Fatalf("a prune whose call %d of %d fails returns %v", n, m.calls, err)
	}
	if err == nil {
		return 0 // every call has had its turn
	}
	return n + 1
}

// Writers and prunes take turns, and nothing that a writer saved is lost.
func TestPruneWithWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newTestRepository(t)
		var wg sync.WaitGroup
		var mu sync.Mutex
		kept := map[ID]map[string][]byte{}
		for writer := range uint64(3) {
			wg.Go(func() {
				mine := r.again(t, m)
				for round := range uint64(4) {
					rng := rand.New(rand.NewPCG(writer, round))
					files := map[string][]byte{"file00": mixed(rng, 600_000), "file01": make([]byte, 1000)}
					id, err := saveLocked(t.Context(), mine, files)
					if err != nil {
						t.Error(err)
						return
					}
					if round%2 == 0 {
						err = mine.RemoveSnapshot(t.Context(), id)
					}
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					if round%2 == 1 {
						kept[id] = files
					}
					mu.Unlock()
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				mine := r.again(t, m)
				for range 3 {
					plan, err := mine.PlanPrune(t.Context())
					if err == nil {
						err = mine.Prune(t.Context(), plan, nil)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		wholeAndSame(t, r.again(t, m), kept)
		if names := m.names(locksFolder); len(names) > 0 {
			t.Errorf("locks are left: %q", names)
		}
	})
}

func saveLocked(ctx context.Context, r *Repository, files map[string][]byte) (_ ID, err error) {
	lock, err := r.Lock(ctx, false)
	if err != nil {
		return ID{}, err
	}
	defer func() { err = errors.Join(err, lock.Close(ctx)) }()
	return saveFiles(ctx, r, files, 100_000)
}

// A3 beside damage: whatever could be read of a snapshot before a prune can be read after
// it, and what cannot be understood keeps everything where it is.
func TestPruneBesideDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, whole, _ := pruned(t)
		for _, folder := range []string{indexFolder, snapsFolder, dataFolder} {
			for _, name := range whole.names(folder) {
				for kind, mutate := range map[string]func(m *memory){
					"flipped": func(m *memory) { flip(m, name) },
					"cut":     func(m *memory) { m.objects[name] = m.objects[name][:len(m.objects[name])-1] },
					"missing": func(m *memory) { delete(m.objects, name) },
				} {
					m := whole.clone()
					mutate(m)
					before, files := loadable(t, r.again(t, m)), m.names(root)
					err := r.again(t, m).Prune(t.Context(), nil, nil)
					if folder != dataFolder && kind != "missing" && (err == nil || !slices.Equal(m.names(root), files)) {
						t.Errorf("%s %s: prune says %v, and deletes", kind, name, err)
					}
					after := loadable(t, r.again(t, m))
					for b := range before {
						if !after[b] {
							t.Errorf("%s %s: prune (%v) loses %v %s", kind, name, err, b.typ, b.id.Short())
						}
					}
				}
			}
		}
	})
}

// loadable returns the blobs of snapshots that can be read.
func loadable(t *testing.T, r *Repository) map[blobID]bool {
	t.Helper()
	snapshots, _, err := r.readSnapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.readIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	can := map[blobID]bool{}
	w := walk{r: r, seen: map[ID]bool{}, visit: func(id ID, tree Tree, err error) error {
		if err != nil {
			return nil //nolint:nilerr // this one cannot
		}
		can[blobID{TreeBlob, id}] = true
		for _, n := range tree.Nodes {
			for _, blob := range n.Content {
				if _, err := r.LoadBlob(t.Context(), DataBlob, blob); err == nil {
					can[blobID{DataBlob, blob}] = true
				}
			}
		}
		return nil
	}}
	if err := w.trees(t.Context(), rootsOf(snapshots)); err != nil {
		t.Fatal(err)
	}
	return can
}

func flip(m *memory, name string) {
	data := slices.Clone(m.objects[name])
	data[len(data)/2] ^= 4
	m.objects[name] = data
}
