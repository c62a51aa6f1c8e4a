package store_test

import (
	"errors"
	"testing"

	"github.com/ballast-io/ballast/internal/archive/store"
	"github.com/ballast-io/ballast/internal/archive/store/s3test"
	"github.com/ballast-io/ballast/internal/archive/store/storetest"
	"github.com/ballast-io/ballast/internal/crashfs"
)

func TestProbe(t *testing.T) {
	good := store.NewFolder(crashfs.New())
	if err := store.Probe(t.Context(), good, "log/"); err != nil {
		t.Errorf("Probe of a good store: %v", err)
	}
	for o, err := range good.List(t.Context(), "") {
		t.Errorf("Probe left %q, %v", o.Name, err)
	}
	for n, op := range []storetest.Op{storetest.Create, storetest.Create, storetest.Get, storetest.List, storetest.Delete} {
		faulty := storetest.NewFaulty(good)
		faulty.FailWith(storetest.FailAt(n, storetest.ErrFull))
		if err := store.Probe(t.Context(), faulty, ""); err == nil {
			t.Errorf("Probe = nil, although call %d, a %s, failed", n, op)
		}
	}
}

// A service that does not know conditional writes is found out. O2
func TestProbeOfAStoreWithoutConditions(t *testing.T) {
	st, proxy := proxied(t)
	if err := store.Probe(t.Context(), st, ""); err != nil {
		t.Errorf("Probe of a good store: %v", err)
	}
	proxy.Do(s3test.Always(s3test.Rule{Unconditional: true}))
	if err := store.Probe(t.Context(), st, ""); !errors.Is(err, store.ErrUnconditional) {
		t.Errorf("Probe = %v; want that it does not know If-None-Match", err)
	}
}
