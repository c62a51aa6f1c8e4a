// Package verify restores an archived volume somewhere else, reads every byte of it, mounts it and
// checks its filesystem, and remembers what came of it.
//
// Nothing of the volume itself is touched. What an interrupted verification left is swept at the
// next start ([Verifier.Load]).
//
// # Concurrency
//
// A [Verifier] is safe for concurrent use; its lock is held across no I/O.
package verify
