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
)
