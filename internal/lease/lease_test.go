package lease

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// pair is a lease and a look at it.
func pair(t testing.TB) (*Keeper, *View) {
	t.Helper()
	dir := t.TempDir()
	k, err := Keep(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Open(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = k.Close(), v.Close() }) // nothing was written through them that counts
	return k, v
}

func TestValid(t *testing.T) {
	k, v := pair(t)
	if v.Valid(0) || v.Valid(1) {
		t.Error("a lease that nobody renewed is valid")
	}
	k.Renew(1, Now()+time.Hour, time.Minute)
	if !v.Valid(1) || v.Valid(2) || v.Valid(0) {
		t.Error("session 1 was renewed, and it alone is valid")
	}
	k.Renew(1, Now(), time.Minute)
	if !v.Valid(1) {
		t.Error("a renewal made the time that engines rely on shorter")
	}
	k.Renew(2, Now()-1, time.Minute)
	if v.Valid(1) || v.Valid(2) {
		t.Error("E1: session 2 took the place of 1, and its time is over")
	}
	if session, _, grace := v.Read(); session != 2 || grace != time.Minute {
		t.Errorf("session %d with grace %v; want 2 with a minute", session, grace)
	}
}

func TestNextKeeper(t *testing.T) {
	dir := t.TempDir()
	k, err := Keep(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Open(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close() // was only looked at
	k.Renew(7, Now()+time.Hour, time.Minute)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k.Renew(8, Now()+time.Hour, time.Minute) // closed: nothing happens
	next, err := Keep(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close() // see below
	if !v.Valid(7) {
		t.Error("the next agent ended the session of the one before")
	}
	next.Renew(8, Now()+time.Hour, time.Minute)
	if v.Valid(7) || !v.Valid(8) {
		t.Error("a view does not see what the next agent says")
	}
}

// TestOtherBoot attacks E3.
func TestOtherBoot(t *testing.T) {
	dir := t.TempDir()
	k, err := Keep(dir)
	if err != nil {
		t.Fatal(err)
	}
	k.Renew(7, Now()+time.Hour, time.Minute)
	k.p.boot.Add(1)
	v, err := Open(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close() // was only looked at
	if v.Valid(7) {
		t.Error("a lease of another boot is valid")
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if k, err = Keep(dir); err != nil {
		t.Fatal(err)
	}
	defer k.Close() // nothing was written through it
	if v.Valid(7) {
		t.Error("a keeper took over a lease of another boot")
	}
}

func TestNoLease(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if _, err := Open(path); err == nil {
		t.Error("a lease that is missing was opened")
	}
	for _, content := range []string{"", "short"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil {
			t.Errorf("%q was opened as a lease", content)
		}
	}
	if err := os.WriteFile(path, make([]byte, 2*pageSize), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close() // was only looked at
	if v.Valid(0) {
		t.Error("zeros are a valid lease")
	}
}

// TestSessionsAreNotMixed attacks E2: sessions with odd numbers are long over, those with
// even ones good for hours. A view that mixes them up takes an odd one for valid.
func TestSessionsAreNotMixed(t *testing.T) {
	k, v := pair(t)
	const last = 200_000
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if session, until, _ := v.Read(); session%2 == 1 && until > 1 {
					t.Errorf("session %d is good until %v", session, until)
					return
				}
			}
		})
	}
	for session := uint64(1); session < last; session++ {
		if session%2 == 1 {
			k.Renew(session, 1, time.Minute)
		} else {
			k.Renew(session, time.Hour, time.Minute)
		}
		if session%1000 == 0 {
			runtime.Gosched()
		}
	}
	close(done)
	readers.Wait()
}

func BenchmarkValid(b *testing.B) {
	k, v := pair(b)
	k.Renew(1, Now()+time.Hour, time.Minute)
	for b.Loop() {
		if !v.Valid(1) {
			b.Fatal("not valid")
		}
	}
}
