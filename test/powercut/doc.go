// Command powercut cuts the power of a real kernel again and again, and looks
// for what was lost:
//
//	powercut [-n CUTS] [-seed N] [-machines N]
//
// A machine is user-mode Linux: a kernel that is an ordinary process here. In it
// run an engine, FUSE, a loop device and ext4, all on a disk that is a file here,
// and a workload on the volume that reports every acknowledgement to the outside. Its
// processes are killed at a random moment: its page cache is gone, and what its
// disk was not told to keep may be gone too, see [disk]. The next boot of the machine
// checks the volume, recovers it, checks the filesystem in it, and reports what it found
// of every workload; the outside compares.
//
// # Invariants
//
//	P1  What was acknowledged before a cut is found after it (G1).
//	P2  What is found is the state after some number of the workload's steps: at
//	    most the one that was under way is more than was acknowledged (G2).
//	P3  A cut counts when something was acknowledged between boot and cut, so that
//	    a machine that does nothing proves nothing.
//	P4  Whatever ends the program, no process, mount or file of it stays.
//
// # Roles
//
// The program is three: started by a person it is the outside; a machine starts
// it as its process 1, with the argument "guest"; and that starts it as the engine.
//
// # Concurrency
//
// Machines run side by side and share nothing. One goroutine drives each, one
// reads its console, and some serve its disk.
package main
