// Package archiver keeps a node's volumes in the archive: it opens it, ships what their
// engines' logs make of them, takes base snapshots when they are due, applies retention,
// and feeds volumes that fill in.
//
// # Parts
//
//	Vault     the archive, open as soon as it can be; [Opener] opens and makes it
//	Writers   what the shippings of a node share: their settings, and the turn for a base snapshot
//	Shipping  one attached volume: its tail, its base snapshots, how far it is archived
//	Keeper    retention, pruning, and which volumes were removed
//	Sources   where hydrating volumes are filled from
//
// # Invariants
//
// Those of package agent that begin with the archive hold here: A11, A12, A13, A14 and A16.
//
// # Concurrency
//
// Each part has a lock of its own, is safe for concurrent use, and holds its lock across no
// I/O, but for the opening of a source. A [Shipping] runs in a goroutine that its node owns
// ([Node.Do]); everything else that lives long is a Run that the caller waits for.
package archiver
