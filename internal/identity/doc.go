// Package identity says who a node is: the cluster's certificate authority, the
// certificates it signs, the folder that keeps a node's own, and the tokens that
// let a machine join.
//
// # Invariants
//
//	I1  A certificate names one node of one cluster under one generation, and is
//	    believed for nothing else.
//	I2  A node's key is made on its node and never leaves it: what travels is a
//	    signing request, of which only the public key is used.
//	I3  What a token shows of the authority is the whole of its digest; the secret is said
//	    only to who has proved to be of it.
//	I4  Of a token the cluster stores a hash. Neither it nor a key is in any error, log
//	    or printed value (G9).
//	I5  A node's folder is, after a crash at any moment, what it was before or what it
//	    was to become.
//
// # Format
//
// docs/format/identity.md.
//
// # Concurrency
//
// [Credentials] are safe for concurrent use; everything else is a value. Nothing here
// starts a goroutine.
package identity
