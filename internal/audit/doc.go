// Package audit finds the state that containers keep where the next update, or
// the loss of a host, takes it away. It decides over plain descriptions of what
// runs ([World]) and does no I/O; package survey fetches them from Docker.
//
// # Invariants
//
//	U1  Each place is named once, with the gravest reason; what several tasks of
//	    a service share is named for the service.
//	U2  What Docker makes itself, and what is volatile by declaration (tmpfs,
//	    sockets, the machine's own files), is never named.
//	U3  The order is by gravity, then by owner and path: the same world gives the
//	    same report.
//
// Everything here is a pure function and safe for concurrent use.
package audit
