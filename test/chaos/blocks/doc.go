// Package blocks is the user of a volume in package history: a program on a node that
// writes numbered, checksummed blocks through the mounted filesystem, and says what it does
// on its standard output, which is read outside of the node.
//
// # What is written
//
//	direct    512 blocks of 4 KiB, overwritten in place past the page cache (O_DIRECT),
//	          1 to 16 at a time, each time with fdatasync
//	buffered  the same through the page cache, each time with fsync
//	bytes     96 pieces of 40 bytes to 128 KiB, one after the other, so that none begins
//	          or ends with a block: overwritten in place, each time with fsync
//	files     32 files of 4 to 64 KiB that are replaced: written beside, synced, renamed,
//	          and the folder synced, and the file again
//
// Every block says what it is, where it belongs and which write it is of, under a
// checksum; the rest of it follows from that, so a block that is mixed of two is neither.
//
// # Invariants
//
//	B1  A write is said to begin before it does, and acknowledged after its sync returned.
//	B2  Times are those of CLOCK_MONOTONIC, which all machines on one kernel share.
//	B3  No value is ever written twice.
package blocks
