package repository

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"
)

// lockFile is a lock as it is stored.
type lockFile struct {
	Time      time.Time `json:"time"`
	Exclusive bool      `json:"exclusive"`
	Hostname  string    `json:"hostname"`
	Username  string    `json:"username"`
	PID       int       `json:"pid"`
	UID       uint32    `json:"uid,omitempty"`
	GID       uint32    `json:"gid,omitempty"`
	// Boot is ours: the boot of the machine, and the namespace in which PID counts.
	// Machines may share a hostname.
	Boot string `json:"ballast_boot,omitempty"`
}

func (r *Repository) putLock(ctx context.Context, exclusive bool) (ID, error) {
	host := thisHost()
	data, err := json.Marshal(lockFile{
		Time: time.Now(), Exclusive: exclusive,
		Hostname: host.Name, Username: host.User, PID: os.Getpid(), Boot: thisBoot(),
	})
	if err != nil {
		return ID{}, err
	}
	return r.putSealed(ctx, locksFolder, data)
}

// getLock reads a lock. One that is damaged comes with its error and counts as
// exclusive: it says nothing to the contrary.
func (r *Repository) getLock(ctx context.Context, f file) (lockFile, error) {
	data, err := r.getSealed(ctx, locksFolder, f, maxSmall)
	if err != nil {
		return lockFile{Exclusive: true}, err
	}
	l, err := decodeLock(data)
	if err != nil {
		return lockFile{Exclusive: true}, &DamageError{File: locksFolder + f.id.String(), What: "it cannot be read", Err: err}
	}
	return l, nil
}

func decodeLock(data []byte) (l lockFile, err error) {
	return l, decodeJSON(data, &l)
}

func (l *lockFile) lockedError(id ID) *LockedError {
	return &LockedError{
		Host: l.Hostname, User: l.Username, PID: l.PID, Exclusive: l.Exclusive,
		Since: l.Time, File: locksFolder + id.String(),
	}
}

// watchLocks takes note of when each lock was seen first, and forgets those that are
// gone.
func (r *Repository) watchLocks(files []file) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := make(map[ID]time.Time, len(files))
	for _, f := range files {
		since[f.id] = time.Now()
		if first, known := r.since[f.id]; known {
			since[f.id] = first
		}
	}
	r.since = since
}

// isStale reports whether the holder of a lock is gone for good. Its process is dead,
// on this very boot; or nobody refreshed it for as long as a holder may go on without.
//
// By the format, a lock whose label is that old is stale. A label is another
// machine's clock, and a wrong one must not cost data: it is believed only once the lock
// went without the refresh that a living holder would have made meanwhile.
func (r *Repository) isStale(id ID, l lockFile) bool {
	if l.Hostname != "" && l.Hostname == thisHost().Name && (l.Boot == "" || l.Boot == thisBoot()) && isDead(l.PID) {
		return true
	}
	r.mu.Lock()
	watched := time.Since(r.since[id])
	r.mu.Unlock()
	return watched >= lockStale || (watched >= lockWatch && time.Since(l.Time.Round(0)) > lockStale)
}

// isDead reports whether this machine has no such process.
func isDead(pid int) bool {
	return pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// thisBoot is what tells this boot of this machine, and this namespace of processes,
// from others; empty where the kernel does not say.
func thisBoot() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + namespace
}
