// Package wire is what travels between the copies of a volume: frames, and the
// messages in them, in bytes.
//
// # Invariants
//
//	W1  What a [Reader] returns is what a [Writer] of the same version wrote: a frame
//	    with a flipped bit, a wrong length or an unknown kind is an error, and the end
//	    of the connection.
//	W2  A length that is claimed takes no more memory than its kind may have, and
//	    none while nothing is read: a frame that is too long is refused at its header.
//	W3  The first message each way, [Hello], and [Welcome] or [Refuse], can be read by
//	    every release: fields are added at their end only.
//
// # Format
//
// docs/format/wire.md; testdata has the bytes of every message of every version.
//
// # Concurrency
//
// A [Reader] is for one goroutine. Everything else is a function.
package wire
