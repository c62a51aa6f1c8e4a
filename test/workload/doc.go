// Package workload is what tests do to a volume while they attack it: programs
// that keep something, step by step, and say so outside of the volume once it is kept.
// Afterwards the state that is found is the state after some number of steps, and
// that number is at least what was acknowledged; or something was lost.
//
// # Invariants
//
//	W1  A step is acknowledged only after the sync that makes it durable has returned.
//	W2  The state after any number of steps is known: Inspect accepts no other.
//
// # Concurrency
//
// Each [Workload] is used by one goroutine at a time; different ones share nothing,
// except that only one Redis runs on a machine.
package workload
