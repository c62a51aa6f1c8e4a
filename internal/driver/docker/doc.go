// Package docker speaks Docker's volume plugin protocol: it listens on the Unix
// socket where the Engine looks for a driver, and turns each call into one call
// of [Volumes]. It is a translator and decides nothing about volumes; what it
// knows is how the Engine behaves, and that behaviour is why it is not simpler.
//
// # Invariants
//
//	D1  "No such volume" is said only when it is known. The Engine takes any
//	    error in an answer to Get as "gone", forgets the volume's driver, options
//	    and labels, and may make an empty local volume of that name instead. Only
//	    a broken connection reads as "unreachable". So when it is not known, Get
//	    is held, and then its connection is dropped.
//	D2  A request without the fields it needs changes nothing. After a broken
//	    connection the Engine sends a call again with the body already spent.
//	D3  Every call is answered, or its connection dropped, within its budget (G7),
//	    also when what is behind [Volumes] is stuck and ignores its context.
//	D4  A Mount whose answer nobody received is taken back: the Engine that gave
//	    up on a Mount never sends the Unmount.
//	D5  Each Mount is one Attach and each Unmount one Detach, with the Engine's ID
//	    as the holder. The Engine mounts twice under one ID (docker cp), so nothing
//	    is merged here.
//	D6  Unmount of what is not mounted and Remove of what is not there succeed:
//	    what was asked for holds, and the Engine asks twice after a crash.
//	D7  List leaves nothing out and fails only when nothing at all is known.
//	D8  A panic in a call costs that call, never the agent.
//
// # Concurrency
//
// A [Driver] is safe for concurrent use; calls run in parallel, and ordering those
// on one volume is the business of [Volumes]. [Driver.Run] owns every goroutine of
// the package, and waits for them before it returns.
package docker
