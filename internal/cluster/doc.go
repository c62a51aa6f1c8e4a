// Package cluster keeps what all nodes must agree on: the volume records, the nodes
// and their sessions, in etcd; a local view of them that answers without it; and
// who holds etcd.
//
// # Invariants
//
//	C1  A record changes only by compare-and-swap against the revision it was
//	    decided on: of two changes at once one wins, the other decides again.
//	C2  A name belongs to at most one volume outside of the trash.
//	C3  A volume's epoch never goes down, and every claim raises it by one or more.
//	C4  "Not found" is said only of a volume that is known not to exist; as long
//	    as the records are not all known it is "not ready".
//	C5  Looking a volume up never waits for etcd, the disk or the network.
//	C6  A change that was acknowledged is seen by every later look-up on its node.
//	C7  No field that a later release put in a record is lost by this one.
//	C8  What a node holds is claimed by another only when the node's session has stood
//	    still for a whole lease before the eyes of who claims, and still stands so in
//	    the claim's transaction. The node itself has counted less, from earlier on (G3).
//	C9  Copies that count are never none after the first attach, and never fewer than
//	    min_copies by anybody's decision: R7 of internal/replica. A copy that is lost
//	    or set aside by force does not count, whatever is left then.
//	C10 Who holds etcd is changed one step at a time, by the member that leads; a member
//	    gets its vote when the number of votes is odd with it, or about to be.
//	C11 A token is spent by one, and a node's generation is never given twice.
//	C12 A member that has lost what it kept is never started again as the same member.
//	C13 In an etcd that is not ours a node changes nothing before it has joined, and
//	    nothing after it was removed; it may begin a cluster where there is none.
//
// # Decisions
//
// [DecideClaim], [DecideRelease], [DecideChange], [DecideCopies] and [NextStep] are
// pure: the simulation runs them as they are.
//
// # Format
//
// docs/format/records.md.
//
// # Concurrency
//
// [Records] is safe for concurrent use. It starts no goroutine outside of Run and
// KeepSession, which wait for what they started.
//
// docs/decisions/0007-replication.md says why.
package cluster
