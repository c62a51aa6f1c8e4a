// Package repository is restic's repository format, version 2, in a store's
// folder repo/: keys, config, packs of blobs, the index, trees, snapshots,
// locks, and what keeps them in order: check, forget and prune. Stock restic reads
// what it writes, and the reverse.
//
// # Invariants
//
//	A1  What refers is durable after what it refers to: packs, then the index that
//	    names them, then the snapshot. A crash leaves what nobody refers to, never
//	    a reference to what is not there.
//	A2  Nothing is returned that was not verified: a sealed file by its MAC, a blob by
//	    its MAC and by the hash that is its name.
//	A3  Nothing is deleted that a snapshot reaches. Deleting takes an exclusive lock,
//	    writes what is kept first, then its index, and deletes indexes before packs.
//	A4  A snapshot is saved only while the lock under which its blobs were found is
//	    still in the store.
//	A5  Whatever a store hands out is held to limits: of size before it is read, of
//	    memory and time before it is decoded.
//	A6  What is sealed for one purpose is refused for every other: a store that moves
//	    sealed bytes about cannot pass a blob, whose content a user of a volume may
//	    choose, for anything but a blob.
//
// # Format
//
// docs/format/repository.md. A change there is a change of the format.
//
// # Concurrency
//
// A [Repository] and a [Writer] are safe for concurrent use. Goroutines are started
// by a [Lock], until its Close, and by a Writer, until its Flush or Close.
package repository
