// Package cluster keeps what all nodes must agree on: the volume records, in
// etcd, and a local view of them that answers without it.
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
//
// # Format
//
// docs/format/records.md.
//
// # Concurrency
//
// [Records] is safe for concurrent use. It starts no goroutine outside of Run.
package cluster
