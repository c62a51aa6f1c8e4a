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
// # Concurrency
//
// A [Store] is safe for concurrent use.
package store

import (
	"context"
	"iter"
)

// Store is a tree of objects. Names are slash-separated, of lower-case letters, digits,
// '.', '_' and '-', and relative to the store's prefix. Every call ends with its context.
type Store interface {
	// Put stores an object, replacing one of that name.
	Put(ctx context.Context, name string, data []byte) error
	// Create is Put that fails with [ballast.ErrExists] where there is one already.
	Create(ctx context.Context, name string, data []byte) error
	// Get returns n bytes of an object from off on; n < 0 means to its end. Fewer
	// bytes than asked for are an error. A missing object is a [ballast.ErrNotFound].
	Get(ctx context.Context, name string, off, n int64) ([]byte, error)
	// List returns the objects whose names begin with prefix, in the order of their names.
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
