// Command chaos has one volume written on a cluster of lab machines, takes its primary
// away again and again, with everything else going wrong that can, and judges what its
// users saw. It attacks G1 to G4 and G6 with real processes, kernels and links.
//
// # A round
//
//	all is well: as many copies are in sync as there shall be
//	a user works on the primary (package blocks)
//	a disturbance, which the primary has to live with: it must go on, and mostly ends before
//	a loss: the primary is gone, or cut off, or stopped, or all power is
//	another node takes the volume; a user begins there, reads everything, and works
//	what was broken is mended; the former primary's user has ended, its mount is gone
//	now and then, all copies in sync are taken as they are, at the same moment, and compared
//
// # Invariants
//
//	K1  Everything is chosen by a seed, which is printed; faults are used in turn, so that
//	    each strikes in a campaign that is long enough.
//	K2  Every user gets some writes acknowledged before and after a fault, and all of them
//	    some number per second: a campaign in which nothing happens fails.
//	K3  Nothing is taken to be well because it was not looked at: a copy that could not be
//	    compared and a user that could not be heard to its end are failures.
//	K4  What was wrong is kept for a look: logs and copies, in a folder that is named.
package main
