// Package vfs is the seam between Ballast and a disk: everything that a volume
// keeps is read, written and synced through it, so that a disk that loses power
// or fails at its n-th call can stand in for the real one.
//
// # Contract
//
//	S1  What Sync has returned nil for survives a power cut; nothing else must.
//	S2  A name survives a power cut once SyncDir of its folder has returned nil.
//	S3  A 512-byte sector is written whole or not at all; a larger write may be torn.
//	S4  After a failed Sync the caller must take every unsynced write to that
//	    file as lost, whatever a later Sync returns.
//
// # Concurrency
//
// An [FS] and its [File]s are safe for concurrent use.
package vfs

import "io"

// FS is a tree of folders. Names are slash-separated and relative to its root;
// a name that leads out of the root is refused.
type FS interface {
	// Create makes an empty file, or fails with [io/fs.ErrExist].
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Rename moves a file within one folder, replacing any file at newname.
	Rename(oldname, newname string) error
	// Link gives a file a second name within its folder, or fails with
	// [io/fs.ErrExist]; of several for one name, one succeeds.
	Link(oldname, newname string) error
	// Remove deletes a name of a file, or an empty folder.
	Remove(name string) error
	// Mkdir makes a folder; one that is there already is no error.
	Mkdir(name string) error
	// List returns the names in a folder, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
}

// File is an open file. It has no seek position.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the file's bytes and length durable.
	Sync() error
	// Truncate sets the file's length in bytes; new bytes read as zeros.
	Truncate(size int64) error
	// Punch makes a range read as zeros and gives its disk space back.
	Punch(off, n int64) error
	// Size returns the file's length in bytes.
	Size() (int64, error)
	// Hole reports whether n bytes at off are known to read as zeros because no disk
	// space holds them. False says nothing.
	Hole(off, n int64) (bool, error)
	// Allocated returns how many bytes of disk space the file holds.
	Allocated() (int64, error)
}

// StartWriting lets the disk begin with bytes that were written, so that the next Sync has less
// to wait for. It promises nothing, and says nothing: what goes wrong, Sync reports.
func StartWriting(f File, off, n int64) {
	if d, ok := f.(interface{ startWriting(off, n int64) }); ok {
		d.startWriting(off, n)
	}
}
