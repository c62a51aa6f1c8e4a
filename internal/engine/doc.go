// Package engine is the process that serves one attached volume: it opens the
// volume, shows it as a file through FUSE, and answers on a Unix socket in the volume's folder
// ([Run]): what it does, what was written, and the volume at one moment. Chunks that are not here yet
// it asks the node's agent for. The same package is its client ([Spawn], [Dial]): the agent starts engines
// and finds them again after a restart of its own.
//
// # Invariants
//
//	N1  A volume has one engine: it holds a lock on the volume's folder for as
//	    long as it lives, and a second one refuses to start.
//	N2  An engine outlives the filesystem on it: while a loop device stands on its
//	    file, neither a stop nor SIGTERM ends it.
//	N3  A volume that is poisoned stays readable: the engine serves on, writes fail,
//	    and the status says why.
//	N4  Every call of a [Client] ends with its context, also when the engine is stopped
//	    by a signal or a debugger.
//	N5  A Kill reaches the engine that was dialled, or nobody.
//	N6  What the archive reads comes whole, or is an error: changes that broke off
//	    are no delta, and a snapshot ends with its count of chunks.
//	N7  A chunk that the agent sent short, or not at all, is not in the volume.
//	N8  Nothing is answered, read or written or flushed, at a moment at which another node
//	    can be the volume's writer: not past the node's lease, not under a session that has not
//	    confirmed the epoch, and never again once the engine is fenced (G3).
//	N9  A copy can claim the volume from before the engine asks for it to be in sync, until
//	    a later record says otherwise. As long as none can, the engine asks no lease.
//	N10 An engine whose file was taken away ends, within a bounded time, also when a copy that
//	    is required says nothing and cannot be left out: the records that wait for it were
//	    answered to nobody.
//
// # The gate
//
// Between the device and the volume stands the gate, which looks at the node's lease
// (package lease) before an answer goes out. Past it requests wait; when the time to give up
// has come too, or the record names another holder, they fail with EIO for ever.
//
// # Life
//
// An engine runs in a session of its own, so that neither the end of the agent nor
// its terminal reaches it. SIGTERM, which an ending machine sends to everybody, is taken
// as "stop when the file is released": whoever unmounts the filesystem later
// needs the engine for it.
//
// # Concurrency
//
// Run is a process. A Client is safe for concurrent use.
package engine
