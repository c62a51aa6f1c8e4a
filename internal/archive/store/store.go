// Package store is an object store as the archive uses one: whole objects under
// names, written once. [Open] knows folders (file:///…) and S3-compatible services
// (s3://bucket/prefix?endpoint=…).
//
// # Contract
//
//	O1  An object appears whole or not at all, and when Put or Create has returned
//	    nil it is there for good, as far as the store's word goes.
//	O2  Of several Creates of one name, one succeeds.
//	O3  An error never means "there is none", but for one that wraps
//	    [ballast.ErrNotFound].
//
// A Put, Create or Delete that failed may have happened all the same, or happen
// later: the request may be on its way. Only [ballast.ErrExists],
// [ballast.ErrNotFound] and [ballast.ErrInvalid] are facts.
//
// # Names
//
// A name has up to 8 segments between slashes, each of up to 128 lower-case
// letters, digits, '.', '_' and '-' and not beginning with a dot, so that no name
// leads out of a folder. No object's name may be a folder of another's. What has
// another kind of name in a store is not listed: it is not the archive's.
//
// # Concurrency
//
// A [Store] is safe for concurrent use, and starts no goroutines that outlive a
// call, but for the connections that Close ends.
package store

import (
	"context"
	"iter"
)

// MaxSize is the size in bytes of the largest object, and so of the most that a
// Get returns. The archive's own are at most a quarter of it.
const MaxSize = 256 << 20

// Store is a tree of objects. Names are slash-separated, of lower-case letters, digits,
// '.', '_' and '-', and relative to the store's prefix. Every call ends with its context;
// a folder's looks at it between two steps, as a disk's calls cannot be interrupted.
type Store interface {
	// Put stores an object, replacing one of that name.
	Put(ctx context.Context, name string, data []byte) error
	// Create is Put that fails with [ballast.ErrExists] where there is one already.
	Create(ctx context.Context, name string, data []byte) error
	// Get returns n bytes of an object from off on; n < 0 means to its end, n = 0 is
	// refused. Fewer bytes than asked for are an [io.ErrUnexpectedEOF], as is an off
	// that is not in the object. A missing object is a [ballast.ErrNotFound].
	Get(ctx context.Context, name string, off, n int64) ([]byte, error)
	// List returns the objects whose names begin with prefix, in the order of their names.
	// It ends with the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Delete removes an object. One that is not there is no error.
	Delete(ctx context.Context, name string) error
	// Close releases what the store holds. No call may be under way.
	Close() error
}

// Object is an object in a listing.
type Object struct {
	Name string
	Size int64 // bytes
}
