// Package retention decides which points of a volume's history are kept, as a plan
// with reasons. It reads no clock and does no I/O: times are what the archive has
// written beside its points, and now is an argument.
//
// # Invariants
//
//	T1  What a kept point needs is kept: its base, and the tail from there to it.
//	T2  The newest point can be restored, whatever the policy says. So can every base
//	    that a user tagged, and every point that another volume began at (a [Pin]).
//	T3  Every moment of the any-second window that could be restored still can.
//	T4  A plan for an earlier now keeps everything that one for a later now keeps. So a
//	    clock that jumps back deletes nothing that a right one would not.
//	T5  Ages are counted back from now, or from the volume's newest point where that
//	    is earlier. So a clock that jumps ahead deletes nothing by itself, and the
//	    history of a volume at rest does not wear away.
//
// T4 holds because only the far end of a window depends on now, and because hours, days,
// weeks, months and years are those of the calendar (UTC), wherever now is in them. The
// order of points is that of their LSNs; where times contradict it, a plan keeps more.
//
// # Concurrency
//
// Everything here is a value or a pure function.
package retention
