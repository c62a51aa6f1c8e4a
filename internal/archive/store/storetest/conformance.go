// Package storetest is what tests of the archive need of a store: the conformance
// suite that every [store.Store] passes, and [Faulty], a store that goes wrong as told.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
)

// Conformance holds a store to its contract. Open returns a store with nothing in it; the
// suite closes it.
func Conformance(t *testing.T, open func(testing.TB) store.Store) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"what was put is there", testPut},
		{"what is not there is not found", testAbsent},
		{"a part of an object", testRange},
		{"one Create succeeds", testCreate},
		{"an object is one Put's whole", testWhole},
		{"a listing is in order", testList},
		{"a listing of many", testMany},
		{"a listing that is not read to its end", testStop},
		{"what was deleted is gone", testDelete},
		{"a name that is none is refused", testNames},
		{"a call ends with its context", testContext},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := open(t)
			defer func() {
				if err := st.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			tt.test(t, st)
		})
	}
}

func put(t *testing.T, st store.Store, name string, data []byte) {
	t.Helper()
	if err := st.Put(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
}

func wantObject(t *testing.T, st store.Store, name string, want []byte) {
	t.Helper()
	got, err := st.Get(t.Context(), name, 0, -1)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get(%s) = %d bytes, %v; want the %d that were stored", name, len(got), err, len(want))
	}
}

// pattern returns n bytes that are not the same elsewhere or under another seed.
func pattern(n, seed int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*7 + i>>8*13 + i>>16*5 + seed*31)
	}
	return data
}

func testPut(t *testing.T, st store.Store) {
	for i, size := range []int{0, 1, 4095, 1 << 20, 17<<20 + 3} {
		name := fmt.Sprintf("repo/data/%02d/object", i)
		put(t, st, name, pattern(size, i))
		wantObject(t, st, name, pattern(size, i))
	}
	put(t, st, "repo/data/01/object", pattern(5, 9)) // replaces
	wantObject(t, st, "repo/data/01/object", pattern(5, 9))
}

func testAbsent(t *testing.T, st store.Store) { // O3
	put(t, st, "a/b/c", []byte("here"))
	for _, name := range []string{"none", "a", "a/b", "a/b/d", "a/none/c", "a/b/c-", "a/b/c/d"} {
		if data, err := st.Get(t.Context(), name, 0, -1); !errors.Is(err, ballast.ErrNotFound) {
			t.Errorf("Get(%s) = %q, %v; want ErrNotFound", name, data, err)
		}
	}
}

func testRange(t *testing.T, st store.Store) {
	data := pattern(1000, 0)
	put(t, st, "object", data)
	put(t, st, "empty", nil)
	for _, tt := range []struct {
		name   string
		off, n int64
		want   []byte
		err    error
	}{
		{"object", 0, 1, data[:1], nil},
		{"object", 0, 1000, data, nil},
		{"object", 10, 20, data[10:30], nil},
		{"object", 999, 1, data[999:], nil},
		{"object", 990, -1, data[990:], nil},
		{"object", 990, 11, nil, io.ErrUnexpectedEOF},
		{"object", 0, 1001, nil, io.ErrUnexpectedEOF},
		{"object", 1000, 1, nil, io.ErrUnexpectedEOF},
		{"object", 1000, -1, nil, io.ErrUnexpectedEOF},
		{"object", 5000, -1, nil, io.ErrUnexpectedEOF},
		{"object", -1, 5, nil, ballast.ErrInvalid},
		{"object", 5, 0, nil, ballast.ErrInvalid},
		{"object", 0, store.MaxSize + 1, nil, ballast.ErrInvalid},
		{"empty", 0, 1, nil, io.ErrUnexpectedEOF},
		{"empty", 0, -1, nil, nil},
	} {
		got, err := st.Get(t.Context(), tt.name, tt.off, tt.n)
		if !bytes.Equal(got, tt.want) || !errors.Is(err, tt.err) {
			t.Errorf("Get(%s, %d, %d) = %d bytes, %v; want %d, %v", tt.name, tt.off, tt.n, len(got), err, len(tt.want), tt.err)
		}
	}
}

func testCreate(t *testing.T, st store.Store) { // O2
	for round := range 5 {
		name := fmt.Sprintf("log/%d/open", round)
		var won atomic.Int64
		var winner atomic.Int64
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				err := st.Create(t.Context(), name, pattern(1000, i))
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(int64(i))
				case !errors.Is(err, ballast.ErrExists):
					t.Errorf("Create(%s): %v; want ErrExists", name, err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of 8 Creates succeeded; want 1", won.Load())
		}
		wantObject(t, st, name, pattern(1000, int(winner.Load())))
	}
	put(t, st, "object", []byte("put"))
	if err := st.Create(t.Context(), "object", []byte("put")); !errors.Is(err, ballast.ErrExists) {
		t.Errorf("Create of what was put = %v; want ErrExists", err)
	}
}

// testWhole replaces an object while it is read. O1
func testWhole(t *testing.T, st store.Store) {
	const size, versions = 300_000, 10
	put(t, st, "head", pattern(size, 0))
	var writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		defer close(done)
		for i := range versions {
			if err := st.Put(t.Context(), "head", pattern(size, i)); err != nil {
				t.Error(err)
			}
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		got, err := st.Get(t.Context(), "head", 0, -1)
		if err != nil || len(got) == 0 || !bytes.Equal(got, pattern(size, seedOf(got))) {
			t.Errorf("Get between two Puts = %d bytes, %v; want one of them whole", len(got), err)
			running = false
		}
	}
	writer.Wait()
	wantObject(t, st, "head", pattern(size, versions-1))
}

// seedOf returns the seed of a pattern.
func seedOf(data []byte) int {
	for seed := range 256 {
		if byte(seed*31) == data[0] {
			return seed
		}
	}
	return 0
}

func list(t *testing.T, st store.Store, prefix string) (names []string) {
	t.Helper()
	for o, err := range st.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Name)
	}
	return names
}

func testList(t *testing.T, st store.Store) {
	if got := list(t, st, ""); got != nil {
		t.Errorf("List of an empty store = %q", got)
	}
	all := []string{"a-b", "a.b", "a/b", "a/b-c", "a/b.c/d", "a/bc/d", "a/bc/e", "a0", "ab/c", "log/x/0/open", "log/x/1/open"}
	for i, name := range all {
		put(t, st, name, pattern(i, 0))
	}
	for prefix, want := range map[string][]string{
		"":        all,
		"a/":      all[2:7],
		"a/b":     all[2:7],
		"a/bc":    all[5:7],
		"a/bc/":   all[5:7],
		"a/bc/d":  all[5:6],
		"a":       all[:9],
		"log/x/":  all[9:],
		"log/y/":  nil,
		"a/b.c/e": nil,
		"a/b/c/d": nil,
	} {
		if got := list(t, st, prefix); !slices.Equal(got, want) {
			t.Errorf("List(%q) = %q; want %q", prefix, got, want)
		}
	}
	i := int64(0)
	for o, err := range st.List(t.Context(), "") {
		if err != nil || o.Size != i {
			t.Errorf("List: %s has %d bytes, %v; want %d", o.Name, o.Size, err, i)
		}
		i++
	}
}

// testMany lists more than a page of a service.
func testMany(t *testing.T, st store.Store) {
	var want []string
	for i := range 1100 {
		want = append(want, fmt.Sprintf("log/v/%04d", i))
	}
	work := make(chan string)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for name := range work {
				if err := st.Put(t.Context(), name, []byte(name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, name := range want {
		work <- name
	}
	close(work)
	all.Wait()
	if got := list(t, st, "log/"); !slices.Equal(got, want) {
		t.Errorf("List = %d names; want the %d that were put", len(got), len(want))
	}
}

func testStop(t *testing.T, st store.Store) {
	for _, name := range []string{"a/1", "a/2", "b"} {
		put(t, st, name, []byte(name))
	}
	for o, err := range st.List(t.Context(), "") {
		if err != nil || o.Name != "a/1" {
			t.Errorf("List begins with %q, %v; want a/1", o.Name, err)
		}
		break
	}
}

func testDelete(t *testing.T, st store.Store) {
	put(t, st, "a/b", []byte("b"))
	put(t, st, "a/c", []byte("c"))
	for range 2 { // the second time it is no error
		for _, name := range []string{"a/b", "none", "none/at/all"} {
			if err := st.Delete(t.Context(), name); err != nil {
				t.Errorf("Delete(%s): %v", name, err)
			}
		}
	}
	if _, err := st.Get(t.Context(), "a/b", 0, -1); !errors.Is(err, ballast.ErrNotFound) {
		t.Errorf("Get of what was deleted = %v; want ErrNotFound", err)
	}
	wantObject(t, st, "a/c", []byte("c"))
	if err := st.Create(t.Context(), "a/b", []byte("again")); err != nil {
		t.Errorf("Create of what was deleted: %v", err)
	}
}

func testNames(t *testing.T, st store.Store) {
	long := string(bytes.Repeat([]byte("x"), 129))
	for _, name := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".tmp-a", "a/.b",
		"A", "a b", "a\\b", "a\x00", "a\n", "ä", "a*", "a%2fb", "1/2/3/4/5/6/7/8/9", long, "a/" + long} {
		_, get := st.Get(t.Context(), name, 0, -1)
		for call, err := range map[string]error{
			"Get":    get,
			"Put":    st.Put(t.Context(), name, nil),
			"Create": st.Create(t.Context(), name, nil),
			"Delete": st.Delete(t.Context(), name),
		} {
			if !errors.Is(err, ballast.ErrInvalid) || errors.Is(err, ballast.ErrNotFound) {
				t.Errorf("%s(%q) = %v; want ErrInvalid", call, name, err)
			}
		}
	}
	for _, prefix := range []string{"/", "../", "a//", "a/../", "A"} {
		for _, err := range st.List(t.Context(), prefix) {
			if !errors.Is(err, ballast.ErrInvalid) {
				t.Errorf("List(%q) = %v; want ErrInvalid", prefix, err)
			}
		}
	}
}

func testContext(t *testing.T, st store.Store) {
	put(t, st, "a", []byte("a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, get := st.Get(ctx, "a", 0, -1)
	var listed error
	for _, listed = range st.List(ctx, "") {
		break
	}
	for call, err := range map[string]error{
		"Get":    get,
		"Put":    st.Put(ctx, "a", []byte("b")),
		"Create": st.Create(ctx, "b", []byte("b")),
		"Delete": st.Delete(ctx, "a"),
		"List":   listed,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v; want context.Canceled", call, err)
		}
	}
	wantObject(t, st, "a", []byte("a"))
}
