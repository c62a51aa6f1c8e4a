// Package archive is a volume's history in an object store: base snapshots, the
// log tail, restore plans, and the source that hydration reads.
//
// # A volume's way there and back
//
// [Archive.WriteBase] writes a volume as it is at one LSN into the repository:
// a manifest and the image in pieces, of which unchanged ones are taken over by
// their id. The tail, shipped by others, holds what the log made of the volume
// between bases. [Archive.History] lists both and judges what they make.
// [History.Plan] finds a point and names every object that is needed for it.
// [Archive.Source] reads the volume at that point, chunk by chunk.
//
// # Invariants
//
//	H1  A plan leads to exactly the volume at its point, or there is none: a
//	    stretch that is missing or damaged is a [*GapError] that names the newest
//	    good point, and a shorter history is never taken for the whole one (G5).
//	H2  What a [Source] returns was verified against the digests and ids that the
//	    plan names; what it calls zeros is zeros by them.
//	H3  A snapshot appears when everything it refers to is stored and indexed.
//	H4  Retention deletes only what no kept point needs, in an order that leaves
//	    every kept point whole at every step.
//	H5  A base or a tail of a writer whose epoch was taken over is on no plan.
//
// # Format
//
// docs/format/archive.md.
//
// # Concurrency
//
// An [Archive], a [Source] and a [History] are safe for concurrent use. No
// goroutine outlives the call that started it.
package archive
