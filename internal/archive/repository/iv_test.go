package repository

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A2: no IV is used twice with a key, whatever was sealed in between: by one who opened the
// repository and by the next, also in another epoch, of the same bytes and of others. Two texts
// under one IV show what they differ in, and a checksum for any third.
func TestNoIVTwice(t *testing.T) {
	first, m := newTestRepository(t)
	ivs := map[string]string{} // by key and IV, what was sealed so
	used := func(key, what string, sealed []byte) {
		iv := key + " " + string(sealed[:ivSize])
		if before, twice := ivs[iv]; twice {
			t.Errorf("%s has the IV of %s", what, before)
		}
		ivs[iv] = what
	}
	for opening := range uint64(3) {
		r := first.again(t, m)
		if err := r.LoadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := saveFiles(t.Context(), r, someFiles(opening), 50_000); err != nil {
			t.Fatal(err)
		}
		tail := r.Sealer("tail")
		for i := range 3 {
			used("tail", fmt.Sprintf("header %d of opening %d", i, opening), tail.Seal([]byte("a header")))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.objects)) {
		switch data := m.objects[name]; {
		case strings.HasPrefix(name, keysFolder): // of a key of its own, which its password makes
		case strings.HasPrefix(name, dataFolder):
			blobs, err := first.packHeader(data)
			if err != nil {
				t.Fatal(err)
			}
			end := uint32(0)
			for _, b := range blobs {
				used("repository", name, data[b.offset:])
				end = max(end, b.offset+b.length)
			}
			used("repository", "the header of "+name, data[end:])
		default:
			used("repository", name, data)
		}
	}
	if least := 3*3 + 3*20; len(ivs) < least {
		t.Errorf("there were %d IVs; the test wants %d at least", len(ivs), least)
	}
	for iv := range ivs {
		if bytes.Contains([]byte(iv), make([]byte, ivSize/2)) {
			t.Errorf("an IV with %d bytes of zeros in a row was counted, not drawn", ivSize/2)
		}
	}
}
