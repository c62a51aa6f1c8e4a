package wire

// Lock is held to write to a connection. Unlike a mutex, it lets the time of a test's
// bubble go on for who waits for it, which may be as long as a write's deadline.
type Lock chan struct{}

// NewLock returns a lock that nobody holds.
func NewLock() Lock { return make(Lock, 1) }

// Lock waits for the lock.
func (l Lock) Lock() { l <- struct{}{} }

// TryLock takes the lock if nobody holds it.
func (l Lock) TryLock() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

// Unlock gives the lock back.
func (l Lock) Unlock() { <-l }
