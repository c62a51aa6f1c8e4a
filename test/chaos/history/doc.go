// Package history says whether what the users of a volume saw, over all its primaries, is
// what one disk with one writer could have shown them.
//
// Users say what they do outside of the nodes: a write when it begins and when it is
// acknowledged, a read with what it found, all by one monotonic clock. What is written is a
// value that is never written again, to some registers at once: blocks, or a file. An
// [Incarnation] is one user on one primary. It reads every register before it writes.
//
// # Rules
//
//	H1  What a register holds when an incarnation begins was written to it by the one
//	    before, or it is what it held when that began; and it is not older than the last
//	    write that was acknowledged.
//	H2  Within an incarnation, reads and writes of a register are linearizable.
//	H3  Once an incarnation has had an acknowledgement, none that came before it gets one.
//	H4  Epochs of incarnations rise.
//
// H1 and H2 are judged by porcupine, H1 also by its plain words: a checker that is wrong
// would have to be wrong twice.
package history
