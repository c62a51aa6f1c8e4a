// Package receiver is the follower's side of replication: it serves the streams of
// leaders elsewhere into the copies that this node keeps.
//
// # Invariants
//
//	F1  A copy has one stream at a time. A later one of the same epoch or a higher one
//	    ends the one before, and begins when that has ended.
//	F2  No stream of an epoch is served once a higher one was greeted or taken here,
//	    whether or not the copy could be opened to store it (R4, G3).
//	F3  An [wire.Ack] says durable only what the copy's Sync has returned for.
//	F4  A copy that nothing happens to is closed, so that what an idle volume costs is a
//	    connection.
//
// # Concurrency
//
// A [Receiver] is safe for concurrent use. [Receiver.Run] owns what it starts; a stream
// runs in the goroutine that calls [Receiver.Serve].
package receiver
