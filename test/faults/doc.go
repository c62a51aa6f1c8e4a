// Package faults attacks the promises of a whole node that only real parts can
// break: system calls that fail (G6), disks that are full (G6), engines that are killed under
// databases (G1, G2), engines and agents that are stopped (G7), and what is left after
// hundreds of volumes came and went (G8).
//
// # Invariants
//
//	F1  Every fault is one that a machine can have: an error is injected where the
//	    kernel could have returned it, and a call that is said to fail is not made.
//	F2  A test whose fault never struck, or under whose fault nothing was
//	    acknowledged, fails.
//	F3  Nothing that a test made is left after it, whether it passed or failed.
package faults
