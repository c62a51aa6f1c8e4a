// Package peer is the one port between nodes: mutual TLS, whom a connection is
// with, what it is for, and how a machine joins.
//
// # Invariants
//
//	P1  Without a certificate of this cluster nothing is answered but POST /join, and of
//	    that no more than a few at once (G10). A node that has left a cluster behind says
//	    besides, to whoever asks under [ProtocolFormer], of which one it is now.
//	P2  A connection is with the node that its certificate names: who dials says whom it
//	    wants, who listens is told who came.
//	P3  A node that was removed, or has joined again since, is refused: at a new
//	    connection and at a new request at once, in an open stream at the next look.
//	P4  Who joins says its secret only to a node of the authority whose digest the token
//	    shows.
//	P5  A join that is refused has changed nothing, and has spent no token.
//	P6  What strangers can make a node hold is bounded: connections, handshakes, bytes,
//	    time, lines of log.
//
// # Format
//
// docs/format/identity.md has the token, the certificates and the messages of a join.
//
// # Concurrency
//
// A [Server] and a [Dialer] are safe for concurrent use. The server's goroutines end
// with its Serve, which waits for the requests under way once their connections are closed.
package peer
