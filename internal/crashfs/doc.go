// Package crashfs is a disk in memory that can lose power and fail on demand.
//
// It keeps two views of every file and folder: what a running process sees, and
// what the disk is sure to hold after a power cut. Sync moves a file's bytes
// from the first view to the second; SyncDir does the same for names.
// Everything else is at risk, and [FS.PowerCut] decides its fate with the
// caller's random numbers:
//
//   - of the unsynced changes to a file any subset survives, in order: whole
//     writes, or single 512-byte sectors of them, so that a sector may hold any
//     of the versions that were written since the last Sync;
//   - a create, remove or rename survives or not, as a whole;
//   - nothing that was synced is ever lost.
//
// After a Sync that was made to fail, the changes it covered are never made
// durable by a later one, although the process goes on seeing them: that is
// what Linux does with the pages of a failed fsync.
//
// # Concurrency
//
// An [FS] and its files are safe for concurrent use.
package crashfs
