// Package replica decides how a volume's copies on several nodes stay one: who
// counts as in sync, what is committed, what a copy that was away must cut and fetch.
//
// It is pure: states, events and effects. Time is an argument. The streams are in
// package stream, the receiving side in package receiver, what travels between them
// in package wire; the simulation runs what is here, and nothing else.
//
// # Invariants
//
//	R1  A flush is acknowledged only when this node and every in-sync copy is durable
//	    to it (G1).
//	R2  A copy is required from the moment the leader asks for it to be added to the
//	    in-sync set, and until it knows that it was removed.
//	R3  A copy is asked to be added only when it is durable to all that is committed.
//	R4  A follower stores an epoch before it answers to it, and takes nothing of a
//	    lower one (G3).
//	R5  A follower folds nothing into its image beyond the committed LSN that its leader
//	    told it.
//	R6  A copy is one point of the history at every moment (G4).
//	R7  The last in-sync copy is never removed, and none below min_copies.
//	R8  Two copies with the same (epoch, LSN) have the same record there.
//	R9  A forced failover goes on from the copy that has the most of the history that
//	    counts; what an earlier one set aside is nothing in a copy's favour.
//
// docs/decisions/0007-replication.md says why.
package replica
