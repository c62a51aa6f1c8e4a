// Package lease says until when a node may write: one file that its agent renews and
// that every engine of the node has mapped.
//
// # Invariants
//
//	E1  A lease that was not renewed is past when its time is over, whatever happened to
//	    the agent, and however long anybody was stopped or the machine was suspended.
//	E2  A reader never sees the time of one session under the number of another.
//	E3  A lease of an earlier boot of the machine is past.
//
// # Format
//
// One page, of which 40 bytes are used, in the byte order of the machine; nobody reads
// it elsewhere or after a boot:
//
//	+-----------+----------+-------------+----------+----------+
//	| magic u64 | boot u64 | session u64 | until ns | grace ns |
//	+-----------+----------+-------------+----------+----------+
//
// Times are of CLOCK_BOOTTIME, which no administrator sets and which goes on while
// a machine sleeps.
//
// # Concurrency
//
// There is one [Keeper] of a file and any number of [View]s, in any process. Both are
// safe for concurrent use and start no goroutines.
package lease
