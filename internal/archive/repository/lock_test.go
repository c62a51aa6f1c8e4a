package repository

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ballast-io/ballast"
)

// soon is long enough for a lock that is free, and for none that is held.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func mustLock(t *testing.T, r *Repository, exclusive bool) *Lock {
	t.Helper()
	l, err := r.Lock(soon(t), exclusive)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func unlock(t *testing.T, l *Lock) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAnExclusiveLockStandsAlone(t *testing.T) {
	for _, tt := range []struct {
		name         string
		held, wanted bool // exclusive
		ok           bool
	}{
		{"two that share", false, false, true},
		{"exclusive beside shared", false, true, false},
		{"shared beside exclusive", true, false, false},
		{"two exclusive", true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, m := newTestRepository(t)
				first := mustLock(t, r, tt.held)
				second, err := r.again(t, m).Lock(soon(t), tt.wanted)
				if (err == nil) != tt.ok {
					t.Fatalf("the second lock: %v; want it taken: %t", err, tt.ok)
				}
				var locked *LockedError
				if err == nil {
					unlock(t, second)
				} else if !errors.As(err, &locked) || locked.PID != os.Getpid() || !errors.Is(err, ballast.ErrInUse) {
					t.Errorf("the error does not name the holder: %v", err)
				}
				unlock(t, first)
				unlock(t, first) // once more does nothing
				unlock(t, mustLock(t, r, true))
				if left := m.names(locksFolder); len(left) > 0 {
					t.Errorf("locks are left: %q", left)
				}
			})
		})
	}
}

// One that waits gets the lock when it is given back.
func TestLockWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newTestRepository(t)
		first := mustLock(t, r, true)
		got := make(chan *Lock)
		go func() {
			l, err := r.again(t, m).Lock(t.Context(), true)
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		time.Sleep(7 * time.Hour) // no time in a bubble; the lock is refreshed all along
		select {
		case <-got:
			t.Fatal("both hold it")
		case <-first.Lost():
			t.Fatal("the lock is lost though it could be refreshed")
		default:
		}
		unlock(t, first)
		unlock(t, <-got)
	})
}

// Of two that want it at once, at most one has it.
func TestLockRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newTestRepository(t)
		holders := make(chan struct{}, 1)
		done := make(chan struct{})
		for range 4 {
			go func() {
				defer func() { done <- struct{}{} }()
				mine := r.again(t, m)
				for range 3 {
					l, err := mine.Lock(t.Context(), true)
					if err != nil {
						t.Error(err)
						return
					}
					select {
					case holders <- struct{}{}:
					default:
						t.Error("two hold it exclusively")
						return
					}
					time.Sleep(time.Second) // no time in a bubble
					<-holders
					if err := l.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		for range 4 {
			<-done
		}
	})
}

// A lock that cannot be refreshed is lost before anybody else may take it.
func TestLostWhenItCannotBeRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newTestRepository(t)
		l := mustLock(t, r, false)
		work, stop := l.Context(t.Context())
		defer stop()
		m.mu.Lock()
		m.fail = func(int, string, string) (error, bool) { return errors.New("the store is away"), false }
		m.mu.Unlock()
		begun := time.Now()
		<-l.Lost()
		if after := time.Since(begun); after < 15*time.Minute || after > lockGiveUp {
			t.Errorf("the lock is lost after %v; want between 15m and %v", after, lockGiveUp)
		}
		<-work.Done()
		if cause := context.Cause(work); !errors.Is(cause, ErrLockLost) {
			t.Errorf("the work ends with %v; want %v", cause, ErrLockLost)
		}
		m.mu.Lock()
		m.fail = nil
		m.mu.Unlock()
		unlock(t, l)
	})
}

// A4: no snapshot is saved under a lock that somebody removed.
func TestNoSnapshotWithoutTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newTestRepository(t)
		id, err := saveFiles(t.Context(), r, someFiles(1), 100_000)
		if err != nil {
			t.Fatal(err)
		}
		snapshots, err := r.Snapshots(t.Context())
		if err != nil || snapshots[0].ID != id {
			t.Fatal(snapshots, err)
		}
		l := mustLock(t, r, false)
		for _, name := range m.names(locksFolder) {
			if err := m.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.SaveSnapshot(t.Context(), &snapshots[0]); !errors.Is(err, ErrLockLost) {
			t.Errorf("SaveSnapshot = %v; want %v", err, ErrLockLost)
		}
		<-l.Lost() // its next refresh notices
		unlock(t, l)
	})
}

// putForeign puts up somebody else's lock.
func putForeign(t *testing.T, r *Repository, l lockFile) {
	t.Helper()
	data, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.putSealed(t.Context(), locksFolder, data); err != nil {
		t.Fatal(err)
	}
}

// When a lock that nobody refreshes gives way.
func TestStaleLocks(t *testing.T) {
	host := thisHost().Name
	dead := deadPID(t)
	for _, tt := range []struct {
		name  string
		age   time.Duration // of its label
		lock  lockFile
		after time.Duration // at least, and not much more
	}{
		{"a dead process of this machine", time.Second, lockFile{Hostname: host, PID: dead}, 0},
		{"a dead process of this boot", time.Second, lockFile{Hostname: host, PID: dead, Boot: thisBoot()}, 0},
		{"a machine with our name", time.Second, lockFile{Hostname: host, PID: dead, Boot: "another"}, lockStale},
		{"a living process of this machine", time.Second, lockFile{Hostname: host, PID: os.Getpid()}, lockStale},
		{"another machine", time.Second, lockFile{Hostname: "other", PID: dead}, lockStale},
		{"another machine, long ago", 31 * time.Minute, lockFile{Hostname: "other", PID: 1}, lockWatch},
		{"a clock that is ahead", -24 * time.Hour, lockFile{Hostname: "other", PID: 1}, lockStale},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := newTestRepository(t)
				tt.lock.Time, tt.lock.Exclusive = time.Now().Add(-tt.age), true
				putForeign(t, r, tt.lock)
				begun := time.Now()
				l, err := r.Lock(t.Context(), false)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took < tt.after-time.Second || took > tt.after+10*time.Second {
					t.Errorf("it gives way after %v; want %v", took, tt.after)
				}
				unlock(t, l)
			})
		})
	}
}

// deadPID is the number of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// A lock that cannot be read stands in the way, and does not forever; an empty one
// does not.
func TestUnreadableLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := newTestRepository(t)
		m.objects[locksFolder+Hash(nil).String()] = nil
		unlock(t, mustLock(t, r, true))
		m.objects[locksFolder+Hash([]byte("x")).String()] = []byte("x")
		if _, err := r.Lock(soon(t), false); err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("Lock = %v; want an error about a lock that cannot be read", err)
		}
		l, err := r.Lock(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		unlock(t, l)
	})
}

// Stock restic respects our locks, and we respect its.
func TestStockRespectsOurLocks(t *testing.T) {
	r, m := newTestRepository(t)
	l := mustLock(t, r, false)
	dir := m.dump(t)
	unlock(t, l)
	if _, err := exec.LookPath("restic"); err != nil {
		t.Skip("stock restic is not installed: scripts/install-packages test installs it")
	}
	cmd := exec.CommandContext(t.Context(), "restic", "--no-cache", "-r", dir, "prune")
	cmd.Env = append(cmd.Environ(), "RESTIC_PASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "already locked") {
		t.Errorf("restic prune says %v:\n%s", err, out)
	}
}
