package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
	"github.com/ballast-io/ballast/internal/crashfs"
)

// A store that is told nothing behaves.
func TestFaultyBehaves(t *testing.T) {
	storetest.Conformance(t, func(testing.TB) store.Store { return storetest.NewFaulty(store.NewFolder(crashfs.New())) })
}

func TestFaulty(t *testing.T) {
	broken := errors.New("broken")
	ended, end := context.WithCancel(t.Context())
	end()
	for _, tt := range []struct {
		name    string
		fault   storetest.Fault
		err     error  // of a Put
		is      string // the object afterwards; empty: it is not there
		got     string // by the same store, once it is there
		getFail error
	}{
		{"nothing", storetest.Fault{}, nil, "object", "object", nil},
		{"an error", storetest.Fault{Err: broken}, broken, "", "", broken},
		{"an error afterwards", storetest.Fault{Err: broken, After: true}, broken, "object", "", broken},
		{"an object that is lost", storetest.Fault{Lost: true}, nil, "", "object", nil},
		{"a read that is short", storetest.Fault{Truncate: 2}, nil, "object", "obje", nil},
		{"a read that is empty", storetest.Fault{Truncate: 99}, nil, "object", "", nil},
		{"a bit that is another", storetest.Fault{Flip: 1}, nil, "object", "nbject", nil},
		{"full", storetest.Fault{Err: storetest.ErrFull}, storetest.ErrFull, "", "", storetest.ErrFull},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner := store.NewFolder(crashfs.New())
			st := storetest.NewFaulty(inner)
			st.FailWith(func(storetest.Call) storetest.Fault { return tt.fault })
			if err := st.Put(t.Context(), "name", []byte("object")); !errors.Is(err, tt.err) {
				t.Errorf("Put = %v; want %v", err, tt.err)
			}
			is, err := inner.Get(t.Context(), "name", 0, -1)
			if string(is) != tt.is || errors.Is(err, ballast.ErrNotFound) != (tt.is == "") {
				t.Errorf("the object is %q, %v; want %q", is, err, tt.is)
			}
			if err := inner.Put(t.Context(), "name", []byte("object")); err != nil {
				t.Fatal(err)
			}
			if got, err := st.Get(t.Context(), "name", 0, -1); !bytes.Equal(got, []byte(tt.got)) || !errors.Is(err, tt.getFail) {
				t.Errorf("Get = %q, %v; want %q, %v", got, err, tt.got, tt.getFail)
			}
		})
	}
	st := storetest.NewFaulty(store.NewFolder(crashfs.New()))
	st.FailWith(func(storetest.Call) storetest.Fault { return storetest.Fault{Wait: make(chan struct{})} })
	if err := st.Put(ended, "name", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Put that waits = %v; want context.Canceled", err)
	}
}
