package repository

import (
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
)

// ErrWrongPassword reports that no key of the repository opens with a password.
var ErrWrongPassword = errors.New("wrong password")

// ErrLockLost reports that a lock went away under its holder: somebody may have
// pruned, so that nothing that was found under it may be relied on.
var ErrLockLost = errors.New("the lock on the repository was lost")

// DamageError reports bytes in the repository that are not what was once stored.
// Reading again cannot help, unless another copy of a blob exists.
type DamageError struct {
	File string // in the store
	What string // is wrong with it
	Err  error  // may be nil
}

// Error says which file is damaged, and how.
func (e *DamageError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s is damaged: %s", e.File, e.What)
	}
	return fmt.Sprintf("%s is damaged: %s: %v", e.File, e.What, e.Err)
}

// Unwrap returns what was found, which may be nil.
func (e *DamageError) Unwrap() error { return e.Err }

// LockedError reports who holds the repository.
type LockedError struct {
	Host, User string // of the holder; empty when its lock cannot be read
	PID        int
	Exclusive  bool
	Since      time.Time // by the holder's clock
	File       string    // of the lock, in the store
}

// Error names the holder.
func (e *LockedError) Error() string {
	kind := ""
	if e.Exclusive {
		kind = " exclusively"
	}
	if e.Host == "" {
		return fmt.Sprintf("the repository is locked by %s, which cannot be read", e.File)
	}
	return fmt.Sprintf("the repository is locked%s by %s@%s, process %d, since %s (%s)",
		kind, e.User, e.Host, e.PID, e.Since.Format(time.RFC3339), e.File)
}

// Unwrap makes it a [ballast.ErrInUse].
func (e *LockedError) Unwrap() error { return ballast.ErrInUse }
