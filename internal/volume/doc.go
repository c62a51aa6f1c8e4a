// Package volume keeps one volume on one node: a log of what was written, an
// image that the log is folded into, and the index between them.
//
// # A write's way
//
// WriteAt appends a record to the log's tail in memory, points the index at it
// and returns: the device has a volatile cache, as disks have. Flush writes the
// tail to the current segment in one piece, syncs it, and returns. In the
// background a round of apply freezes the present generation of the index,
// folds it into the image in the order of blocks, syncs the image, moves the
// applied LSN and lets go of the segments that nobody needs any more. What those
// who read the log have not read yet is kept, up to a bound: the archive with [Volume.Since], other
// copies with [Volume.ReadLog]. Open reads the log from the applied LSN on and stops where it ends.
//
// # Copies
//
// With a [Shipper] the volume leads: every batch is handed to it before it is written here, a
// flush waits for it and for this disk at the same time, and only what it says is committed is
// folded. A [Follower] is the same files on another node. Its records come from the leader, in
// batches, into the same log; a new leader may cut what was not committed, which changes
// the [Lineage] and nothing else that counts. R1 to R8 are the cluster's, in internal/replica; kept
// here are R4 ([Follower.Follow]), R5 (foldable) and R8 (the checks of [Follower.Append]).
//
// A volume may be opened before its bytes are here: see [CreateHollow]. A chunk
// that is missing is fetched from [Options.Source] when it is read, before a round
// of apply changes a part of it, or in the background. Up to eight [Snapshot]s are
// read while all this goes on.
//
// A copy whose writer is elsewhere is a [Follower]. Where its leader's log does not go
// back far enough, chunks of a snapshot bring it to the leader's state: see [Staging].
//
// # Invariants
//
//	V1  Flush returns nil only once every record whose WriteAt or Discard
//	    returned before is on stable storage (G1).
//	V2  What Open finds is a prefix of the records, in the order of their LSNs,
//	    that holds at least all that a Flush acknowledged (G2).
//	V3  The image holds nothing of a record that is not committed.
//	V4  A segment is used anew only when all its records are applied, and also
//	    read by whoever reads the log, unless the queue for them is at its bound or
//	    the disk is full.
//	V5  The epoch of an open volume is higher than that of any earlier opening and any that
//	    was followed or promised, and the descriptor says so before the first record carries it (G3).
//	V6  After a failed write or sync of the log, or a failed sync of the image,
//	    nothing is accepted any more: see [Volume.Err] (G6).
//	V7  A record that was durable and is damaged is a [*CorruptError], never the
//	    end of the log.
//	V8  The chunk table says that a chunk is present only once its bytes are
//	    durable in the image.
//	V9  A missing chunk is neither read from the image, nor is anything folded
//	    into it before it has come, but for a generation that replaces it wholly.
//	V10 What a snapshot reads is the volume at its LSN. A snapshot may be given up;
//	    no failure of its own is a failure of the volume.
//	V11 A copy that chunks bring to another point is at the old one or at the new
//	    one at every moment: they stand beside the image until they are all there, and
//	    whoever opens the copy next goes on with a merge that has begun (R6, G4).
//
// Each is named again where the code keeps it and where a test attacks it.
//
// # Format
//
// docs/format/volume.md; testdata holds a volume of every version there was.
// A change to the one is a change to the other.
//
// # Concurrency
//
// A [Volume] is safe for concurrent use and leaves no goroutine behind: who opens it
// also runs [Volume.Run]. Locks are taken in the order
// appending (a follower's), applying, making, writing, the log's syncing, mu; reading, which only
// [Volume.Since] takes, is held over mu alone. No lock but applying is held while another
// copy is waited for. That of a [Staging] is taken before all of these,
// those of a snapshot and of the hydration are taken last: mu is
// not taken under them. None is held while a chunk is fetched.
package volume
