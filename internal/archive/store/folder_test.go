package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
	"github.com/ballast-io/ballast/internal/crashfs"
)

func open(t testing.TB, url string) store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestFolder(t *testing.T) {
	storetest.Conformance(t, func(t testing.TB) store.Store { return open(t, "file://"+t.TempDir()+"/archive") })
}

func TestFolderOnTheCrashDisk(t *testing.T) {
	storetest.Conformance(t, func(testing.TB) store.Store { return store.NewFolder(crashfs.New()) })
}

// history is what a store was asked for, and what it said.
type history struct {
	maybe map[string][]string // what each object may be, the last acknowledged first; "" is absent
}

// do makes one call and notes what may be there now: before it returns any of the old and
// the new, afterwards the new, or after an error still any.
func (h *history) do(name, value string, call func() error) error {
	before := h.maybe[name]
	if before == nil {
		before = []string{""}
	}
	h.maybe[name] = append(slices.Clone(before), value)
	err := call()
	switch {
	case err == nil:
		h.maybe[name] = []string{value}
	case errors.Is(err, ballast.ErrExists):
		h.maybe[name] = before
	}
	return err
}

// body is an object of several sectors, so that a torn one shows.
func body(i int) string { return strings.Repeat(fmt.Sprintf("version %d, ", i), 200) }

// work uses every call of a store, and returns the first error that is no answer.
func (h *history) work(t *testing.T, st store.Store) (failed error) {
	ctx := t.Context()
	step := func(name, value string, call func() error) {
		if err := h.do(name, value, call); err != nil && !errors.Is(err, ballast.ErrExists) {
			failed = errors.Join(failed, err)
		}
	}
	for i, name := range []string{"log/v/1/open", "repo/data/ab/pack", "log/v/head", "log/v/head", "config", "log/v/1/open"} {
		put := st.Put
		if strings.HasSuffix(name, "open") {
			put = st.Create
		}
		step(name, body(i), func() error { return put(ctx, name, []byte(body(i))) })
	}
	step("repo/data/ab/pack", "", func() error { return st.Delete(ctx, "repo/data/ab/pack") })
	step("repo/keys/key", body(9), func() error { return st.Put(ctx, "repo/keys/key", []byte(body(9))) })
	return failed
}

// check reads the store of a disk and says what should not be.
func (h *history) check(t *testing.T, disk *crashfs.FS) error {
	st := store.NewFolder(disk)
	listed := map[string]bool{}
	for o, err := range st.List(t.Context(), "") {
		if err != nil {
			return err
		}
		listed[o.Name] = true
	}
	for name, maybe := range h.maybe {
		data, err := st.Get(t.Context(), name, 0, -1)
		if err != nil && !errors.Is(err, ballast.ErrNotFound) {
			return err
		}
		if !slices.Contains(maybe, string(data)) {
			return fmt.Errorf("%s is %.20q; want one of %.20q", name, data, maybe)
		}
		if listed[name] != (err == nil) {
			return fmt.Errorf("%s is listed: %t; that it is there: %t", name, listed[name], err == nil)
		}
		delete(listed, name)
	}
	if len(listed) > 0 {
		return fmt.Errorf("listed, and never put: %v", listed)
	}
	return h.goOn(t, st, disk)
}

// goOn uses the store again: what a crash left is in nobody's way, and is swept away.
func (h *history) goOn(t *testing.T, st store.Store, disk *crashfs.FS) error {
	for name := range h.maybe {
		if err := st.Put(t.Context(), name, []byte("again")); err != nil {
			return err
		}
		names, err := disk.List(path.Dir(name))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(names, func(n string) bool { return n[0] == '.' }) {
			return fmt.Errorf("left beside %s: %q", name, names)
		}
	}
	return nil
}

// TestFolderPowerCut cuts the power before every operation in turn, several ways each: an
// object is whole or absent, and what was acknowledged is there. O1, O2, G1
func TestFolderPowerCut(t *testing.T) {
	for cut := 0; ; cut++ {
		disk := crashfs.New()
		h := &history{maybe: map[string][]string{}}
		reached := false
		disk.BeforeEach(func(op int) {
			if op != cut {
				return
			}
			reached = true
			for seed := range uint64(32) {
				if err := h.check(t, disk.PowerCut(rand.New(rand.NewPCG(uint64(cut), seed)))); err != nil {
					t.Errorf("cut=%d seed=%d: %v", cut, seed, err)
				}
			}
		})
		if err := h.work(t, store.NewFolder(disk)); err != nil {
			t.Fatal(err)
		}
		if !reached {
			return
		}
	}
}

// TestFolderFailures makes every operation fail in turn, and cuts the power afterwards. A
// failure is reported, but for one after which there is nothing more to lose. G6
func TestFolderFailures(t *testing.T) {
	broken := errors.New("input/output error")
	for at := 0; ; at++ {
		disk := crashfs.New()
		h := &history{maybe: map[string][]string{}}
		failed := ""
		disk.FailWith(func(op int, kind string) error {
			if op != at {
				return nil
			}
			failed = kind
			return broken
		})
		err := h.work(t, store.NewFolder(disk))
		if failed == "" {
			return
		}
		if err == nil && failed != "remove" || err != nil && !errors.Is(err, broken) {
			t.Errorf("operation %d, a %s, failed: %v", at, failed, err)
		}
		for seed := range uint64(32) {
			if err := h.check(t, disk.PowerCut(rand.New(rand.NewPCG(uint64(at), seed)))); err != nil {
				t.Errorf("operation %d, a %s, seed=%d: %v", at, failed, seed, err)
			}
		}
	}
}

// A folder that another process works in as well: its unfinished file is swept away, and
// it begins anew.
func TestFolderSharedByProcesses(t *testing.T) {
	disk := crashfs.New()
	first, second := store.NewFolder(disk), store.NewFolder(disk)
	interfered := false
	disk.BeforeEach(func(int) {
		names, err := disk.List("d")
		if interfered || err != nil || len(names) == 0 {
			return
		}
		interfered = true
		if err := second.Put(t.Context(), "d/other", []byte("other")); err != nil {
			t.Error(err)
		}
	})
	if err := first.Put(t.Context(), "d/one", []byte("one")); err != nil {
		t.Error(err)
	}
	names, err := disk.List("d")
	if want := []string{"one", "other"}; !interfered || err != nil || !slices.Equal(names, want) {
		t.Errorf("the folder has %q, %v; want %q", names, err, want)
	}
}

// What is in the folder and no object's name is nobody's business.
func TestFolderForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"README", ".hidden", "lost+found", "a b", ".tmp-x-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"loop": ".", "out": "/etc", "dangling": "none"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	st := open(t, "file://"+dir)
	defer st.Close()
	if err := st.Put(t.Context(), "object", nil); err != nil {
		t.Fatal(err)
	}
	n := 0
	for o, err := range st.List(t.Context(), "") {
		if n++; err != nil && !strings.Contains(err.Error(), "escapes") || strings.Contains(o.Name, "hosts") {
			t.Errorf("List = %s, %v", o.Name, err)
		}
	}
	if n == 0 || n > 100 {
		t.Errorf("List has %d objects", n)
	}
}

func TestFolderIsMadeOnlyBesideWhatIsThere(t *testing.T) {
	if _, err := store.Open(t.Context(), "file://"+t.TempDir()+"/not/mounted"); err == nil {
		t.Error("Open made two folders; want an error")
	}
}
