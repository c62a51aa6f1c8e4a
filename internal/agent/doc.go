// Package agent wires a node together: volume records, engines, devices, the
// API, the volume driver and the metrics. It owns every long-lived goroutine of
// a node.
//
// # Invariants
//
//	A1  One agent runs on a data folder.
//	A2  A volume is mounted as long as somebody holds it and its engine lives;
//	    a hold is on disk before its holder is told.
//	A3  An attach that nobody waits for any more is taken back.
//	A4  Every step on a volume happens under its slot's lock, one at a time; no
//	    step on one volume waits for another volume.
//	A5  Looking volumes up waits for nothing: no lock that is held across I/O, no
//	    engine, no disk, no etcd.
//	A6  Every call returns when its context ends, whatever it started goes on in
//	    the node's own goroutines, and ends or is taken back there.
//	A7  A volume that was in use is never begun anew: not its files when they are
//	    missing, not its filesystem when it is blank. Scratch volumes excepted.
//	A8  Holds belong to one boot of the machine and one life of the engine. What a
//	    dead engine leaves is swept, and touches no other volume.
//	A9  An agent that ends leaves what is attached as it is; one that starts takes
//	    it over as the kernel and the engines describe it.
//	A10 A removed volume can be restored until its time in the trash is over.
//	A11 No write to a volume waits for the archive, and no call of Docker's for longer than
//	    a moment.
//	A12 An archive is never made in the place of one that is missing, but for the node's
//	    own in its data folder; and that one's password is never made anew.
//	A13 A record is called archived when the store has acknowledged it, and not before.
//	A14 A volume that is filled from the archive keeps the way there until it has
//	    everything; retention keeps what is on that way.
//	A15 A node that recovers a volume has fenced off every other writer of its history
//	    before anybody can use it.
//	A16 The archive's password and the store's credentials are in no log, error, argument
//	    or answer (G9).
//	A17 What is attached under one session of the node is told to its engine under the next only
//	    after a quorum was asked whether the volume still is this node's.
//	A18 A volume that is another node's is taken down: what uses it is killed, its mount,
//	    holds and engine are gone, before its copy follows.
//	A19 A copy is written to by one at a time: its engine, or the stream of the node that the
//	    record calls its primary, under the record's epoch; one has let go before the other begins.
//	A20 A copy is deleted only when a quorum says that it neither counts nor shall be here, and
//	    that enough others count; or that its volume was removed for good.
//	A21 A node listens to no other before its first token, or its join; it says nothing to who
//	    has no certificate of its cluster but whether he may join (G10).
//	A22 A join that is refused has changed nothing; one that is broken off leaves the node what it
//	    was or what it becomes, never half of both.
//	A23 A node that has a volume, also in the trash, never becomes another cluster's.
//	A24 A detached volume whose copies lack something is tended by one node, which lets go
//	    of it for whoever wants it.
//	A25 A primary whose copy fills in from another node goes on filling it after its engine or its node
//	    died, as long as nobody else was the writer in between, nor may have been; else it begins anew.
//	A26 A container that is to be kept running, and was killed or not started only because a quorum
//	    or a copy was away, is started when they are back, unless the volume is in use elsewhere then.
//
// # The archive
//
// Package archiver keeps the volumes of class primary and clustered there; the node wires its parts
// (archiver.go), owns their goroutines, and decides what they are for: restoring, cloning
// and recovering are here. A volume that is restored is made of files without content
// and a record with an origin; its engine asks the agent for what it lacks (GET /chunks), and the
// agent the archive.
//
// # The cluster
//
// The records say which nodes hold a volume's copies and which of them count. Attaching claims the
// volume (claim.go): with the copy that is here, or with an empty one that fills in from another
// node's. Its engine ships the log by itself; it is told of every change of the record
// (members.go), and asks here for changes of the in-sync set. Copies whose writer is elsewhere
// are package receiver's (receive.go). The node's session is what engines live by
// (session.go); a volume that was lost is taken down (fence.go).
//
// # Concurrency
//
// A node is safe for concurrent use. Its Run owns its goroutines; work that
// outlives a call is handed to it. The order of locks is: a slot's lock, its mu.
package agent
