// Package stream is the leader's side of replication: it carries the log of an open
// volume to the volume's other copies, and tells package replica what came of it.
//
// # A flush's way
//
// The volume hands every batch to [Hub.Ship] before it writes it, and then calls
// [Hub.Flush]: to a peer that has everything before it, the flushing goroutine itself
// writes batch and flush in one piece. What comes back is read by the peer's own goroutine, which
// asks the decisions what is committed now and wakes who waits in [Hub.Committed]. Nothing
// else runs in between.
//
// A peer that is not so close is served by a goroutine of its own: from a ring of
// frames in memory that all peers share, behind it from the volume's log, behind
// that with chunks of a snapshot, and then again from the log.
//
// # Invariants
//
//	S1  A peer gets every record once and in order from where it was cut; whatever it is
//	    not sent for lack of memory is read from the log.
//	S2  What is held in memory for peers is bounded by [RingSize] and a frame for each
//	    peer, however slow they are. A writer never waits for a peer to take something,
//	    only for what it needs to be committed (R1).
//	S3  Nothing is written to a connection without a deadline, and one from which
//	    nothing comes for the patience, or as long as the other side announced, is given up.
//	S4  Whoever calls [Hub.Committed] gets an answer: that it is committed, or that it
//	    never will be.
//	S5  Catching up ends, however fast and long somebody writes: see drag.go.
//
// # Concurrency
//
// A [Hub] is safe for concurrent use. [Hub.Run] owns all goroutines. mu is never held
// while the volume is called, or while a connection is written to. A connection is
// written to under its peer's sending, which is taken before mu, or tried under it.
package stream
