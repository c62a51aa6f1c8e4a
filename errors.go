package ballast

import "errors"

// Errors that callers branch on. What wraps them says which object and what it
// means for the data.
var (
	ErrNotFound = errors.New("not found")      // known not to exist
	ErrNotReady = errors.New("not ready yet")  // not known yet whether it exists; ask again
	ErrExists   = errors.New("already exists") // and differs from what was asked for
	ErrInUse    = errors.New("in use")         // somebody holds it
	ErrInvalid  = errors.New("invalid")        // the request is wrong; nothing was changed

	ErrNoCopy       = errors.New("no in-sync copy")          // none that counts is here or can be reached; forcing one would lose writes
	ErrTooFewCopies = errors.New("too few in-sync copies")   // would be left; nothing was changed
	ErrUnknown      = errors.New("the outcome is not known") // of a change: it may have happened, or happen yet; read again
)
