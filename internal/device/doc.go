// Package device turns a range of bytes that a process serves into a mounted
// filesystem: a one-file FUSE filesystem in the serving process ([Mount]), and, in
// another process that may come and go, a loop device on that file, a filesystem
// on the loop device, and its mount ([Attach]).
//
// # Invariants
//
//	B1  Nothing is formatted that is not blank; a format is there whole or not at all.
//	B2  A loop device is used only when it does direct I/O in blocks of 4096 bytes
//	    and shows a volatile cache, so that an fsync on it becomes a Flush.
//	B3  What belongs to a volume is recognised by device numbers that the kernel
//	    reports, never by the path of a device; nothing else is touched.
//	B4  Every step ends soon after its context does: what the served file holds up
//	    is freed by aborting its FUSE connection.
//	B5  Detach and Sweep leave no mount, loop device or FUSE connection (G8), or say
//	    what is left and who holds it. Both may be repeated.
//
// # Concurrency
//
// A [Server] is a process (Run). Attach, Detach, Grow, Find and Sweep may run at
// the same time for different volumes; for one volume the caller serialises them.
package device
