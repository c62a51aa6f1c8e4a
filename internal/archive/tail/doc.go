// Package tail is the log tail in the archive: deltas as sealed objects, the chain that they
// make, which of all the objects are a volume's history, and the one writer that continues it.
//
// # Invariants
//
//	T1  What a [Line] says is what a writer shipped: each object is sealed, and stands
//	    under the name, in the volume and in the epoch that it was sealed for.
//	T2  Nothing is missing from a Line unnoticed, but for its beginning: what is damaged, or
//	    missing before something newer, is a [Problem] that names it.
//	T3  The history is the highest epoch that was opened, and what that continues, back to
//	    the position where it left off. Whatever else is in the store is no part of it.
//	T4  A record that [Shipper.Ship] acknowledged stays on the Line, whatever is shipped after it
//	    and wherever the writer crashes.
//	T5  A writer that another one has followed ships nothing more once it knows, and
//	    what it ships before it knows is on no Line (T3).
//	T6  Who has nothing to ship makes no request.
//
// # Format
//
// Objects are described in docs/format/archive.md; testdata/v1 has one of each.
//
// # Concurrency
//
// A [Line] is a value that does not change. A [Reader] is safe for concurrent use. A [Shipper] is
// for one goroutine. Nothing here starts a goroutine that outlives the call.
package tail
