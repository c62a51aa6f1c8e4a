package lease

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// words are where the page has its numbers.
const (
	atMagic = 8 * iota
	atBoot
	atSession
	atUntil
)

// FuzzPage opens whatever somebody left in the lease's place, for looking at and for keeping: it
// is valid only for the session of this boot that it names, and until then; and a keeper
// makes of the rest a lease that nobody has (E1, E3).
func FuzzPage(f *testing.F) {
	boot, err := bootNumber()
	if err != nil {
		f.Fatal(err)
	}
	good := make([]byte, pageSize)
	for at, n := range map[int]uint64{atMagic: magic, atBoot: boot, atSession: 7, atUntil: uint64(Now() + time.Hour)} {
		binary.NativeEndian.PutUint64(good[at:], n)
	}
	for cut := 0; cut <= atUntil+8; cut += 4 { // torn: what is missing is what was there before
		f.Add(append(bytes.Clone(good[:cut]), make([]byte, pageSize-cut)...), false)
		f.Add(append(bytes.Repeat([]byte{0xff}, cut), good[cut:]...), true)
	}
	f.Add(good[:pageSize-1], false)
	f.Add(append(bytes.Clone(good), "and more"...), false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, page []byte, ours bool) {
		if ours && len(page) >= atSession { // so that the rest is looked at
			binary.NativeEndian.PutUint64(page[atMagic:], magic)
			binary.NativeEndian.PutUint64(page[atBoot:], boot)
		}
		dir := t.TempDir()
		name := filepath.Join(dir, FileName)
		if err := os.WriteFile(name, page, 0o600); err != nil {
			t.Fatal(err)
		}
		session, until := lookAt(t, name, page, boot)
		k, err := Keep(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close() // nothing was written through it that counts
		if of, now, _ := k.Read(); (of != session || now != until) && (of != 0 || now != 0) {
			t.Errorf("a keeper goes on with session %d until %v; it was %d until %v", of, now, session, until)
		}
		k.Renew(session+1, Now()-1, time.Minute)
		v, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close() // was only looked at
		if v.Valid(session) || v.Valid(session+1) {
			t.Error("a session that is over is valid")
		}
	})
}

// lookAt returns what a page says that is of this boot, after it looked with a view.
func lookAt(t *testing.T, name string, page []byte, boot uint64) (session uint64, until time.Duration) {
	t.Helper()
	v, err := Open(name)
	if short := len(page) < pageSize; short != (err != nil) {
		t.Fatalf("Open of %d bytes = %v", len(page), err)
	}
	word := func(at int) uint64 {
		return binary.NativeEndian.Uint64(append(bytes.Clone(page), make([]byte, pageSize)...)[at:])
	}
	ours := word(atMagic) == magic && word(atBoot) == boot
	if ours {
		session, until = word(atSession), time.Duration(word(atUntil))
	}
	if err != nil {
		return session, until
	}
	defer v.Close() // was only looked at
	for _, s := range []uint64{0, 1, word(atSession), word(atSession) + 1} {
		if want := ours && s != 0 && s == word(atSession) && time.Duration(word(atUntil)) > Now(); v.Valid(s) != want {
			t.Errorf("Valid(%d) = %t of a page with magic %x, boot %x, session %d, until %v; want %t",
				s, !want, word(atMagic), word(atBoot), word(atSession), time.Duration(word(atUntil)), want)
		}
	}
	return session, until
}
