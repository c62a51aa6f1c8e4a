// Package placement decides where copies of volumes belong: plans from what is
// known, pure.
//
// # Invariants
//
//	L1  No step is planned that takes a copy away while fewer in-sync copies than
//	    wanted, or than there can be, would be left besides it.
//	L2  A plan leads somewhere: carried out, and with its copies in sync, the next
//	    plan for the same nodes is empty.
//	L3  A node that was away for less than a while keeps its copies; nothing moves
//	    because it comes back.
//	L4  The same view gives the same plan, whoever makes it.
//
// Times are durations as one node saw them; there is no clock here.
package placement
