package repository

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// What counts bytes says so: few of them would pass for pieces.
func TestCheckSaysWhatItCounts(t *testing.T) {
	r, _ := newTestRepository(t)
	if _, err := saveFiles(t.Context(), r, someFiles(1), 100_000); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	err := r.Check(t.Context(), true, func(p Progress) { got[p.What] = p.Bytes }, func(err error) { t.Error(err) })
	if want := map[string]bool{"reading trees": false, "reading packs": true}; err != nil || !maps.Equal(got, want) {
		t.Errorf("progress in bytes: %v, %v; want %v", got, err, want)
	}
}

// Whatever happens to whichever file, a check that reads all of it finds it, and says
// which snapshots it touches.
func TestCheckFindsEveryDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, whole := newTestRepository(t)
		for seed := range uint64(2) {
			if _, err := saveFiles(t.Context(), r, someFiles(seed), 100_000); err != nil {
				t.Fatal(err)
			}
		}
		if found := problems(t, r); len(found) > 0 {
			t.Fatalf("a false alarm: %v", found)
		}
		for _, name := range append(append(whole.names(dataFolder), whole.names(indexFolder)...), whole.names(snapsFolder)...) {
			for kind, mutate := range map[string]func(m *memory){
				"flipped": func(m *memory) { flip(m, name) },
				"cut":     func(m *memory) { m.objects[name] = m.objects[name][:len(m.objects[name])-1] },
				"empty":   func(m *memory) { m.objects[name] = nil },
				"longer": func(m *memory) {
					m.objects[name] = append(slices.Clone(m.objects[name]), 0)
				},
				"missing": func(m *memory) { delete(m.objects, name) },
				"swapped": func(m *memory) {
					for other := range m.objects {
						if other != name && strings.HasPrefix(other, name[:len(root)+4]) {
							m.objects[name] = m.objects[other]
							return
						}
					}
				},
			} {
				m := whole.clone()
				mutate(m)
				found := problems(t, r.again(t, m))
				gone := kind == "missing" && strings.HasPrefix(name, snapsFolder)
				if len(found) == 0 != gone {
					t.Errorf("%s %s: the problems are %v", kind, name, found)
				}
				if !strings.HasPrefix(name, snapsFolder) && !gone {
					if !touches(found) {
						t.Errorf("%s %s: no snapshot is said to be touched: %v", kind, name, found)
					}
				}
			}
		}
	})
}

// touches reports whether some problem names a snapshot and what to type.
func touches(found []error) bool {
	for _, err := range found {
		var p *Problem
		if errors.As(err, &p) && len(p.Snapshots) > 0 && strings.Contains(p.Error(), "type: ") {
			return true
		}
	}
	return false
}

// Two snapshots share a pack, a third does not: damage to it touches the two.
func TestCheckNamesTheSnapshotsThatDamageTouches(t *testing.T) {
	r, m := newTestRepository(t)
	files := map[string][]byte{"file00": []byte("shared")}
	first, err := saveFiles(t.Context(), r, files, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	data := m.names(dataFolder)
	files["file01"] = []byte("more")
	second, err := saveFiles(t.Context(), r, files, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := saveFiles(t.Context(), r, map[string][]byte{"file00": []byte("other")}, 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, name := range data { // of the first: its data, and its trees, which only it needs
		damaged := m.clone()
		delete(damaged.objects, name)
		found := problems(t, r.again(t, damaged))
		if len(found) != 1 {
			t.Fatalf("without %s: %v; want one problem", name, found)
		}
		text := found[0].Error()
		if !strings.Contains(text, first.Short()) || !strings.Contains(text, name) {
			t.Errorf("the problem does not name %s and %s: %s", name, first.Short(), text)
		}
		id, err := ParseID(name[len(name)-64:])
		if err != nil {
			t.Fatal(err)
		}
		isData := r.index.contents()[id][0].typ == DataBlob
		if strings.Contains(text, second.Short()) != isData {
			t.Errorf("the problem of a pack with data: %t: names %s or not: %s", isData, second.Short(), text)
		}
	}
}

// A check that cannot reach the store does not call that damage, nor the repository
// whole.
func TestCheckAtEveryFailure(t *testing.T) {
	r, whole := newTestRepository(t)
	if _, err := saveFiles(t.Context(), r, someFiles(1), 100_000); err != nil {
		t.Fatal(err)
	}
	errAway := errors.New("the store is away")
	for n := 1; ; n++ {
		m := whole.clone()
		m.fail = func(call int, _, _ string) (error, bool) {
			if call == n {
				return errAway, false
			}
			return nil, false
		}
		err := r.again(t, m).Check(t.Context(), true, nil, func(err error) { t.Errorf("call %d: a false alarm: %v", n, err) })
		if m.calls < n {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if !errors.Is(err, errAway) {
			t.Errorf("call %d fails, and the check returns %v", n, err)
		}
	}
}
