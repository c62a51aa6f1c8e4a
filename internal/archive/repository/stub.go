package repository

import (
	"context"
	"errors"
	"time"

	"github.com/ballast-io/ballast/internal/archive/store"
)

var errStub = errors.New("not written yet")

// Host is who a key or a lock says it belongs to.
type Host struct{ Name, User string }

// Repository is an open repository.
type Repository struct{}

// Init makes a repository.
func Init(ctx context.Context, st store.Store, password []byte, host Host) (*Repository, error) {
	return nil, errStub
}

// Open opens a repository.
func Open(ctx context.Context, st store.Store, password []byte) (*Repository, error) {
	return nil, errStub
}

// ID returns the repository's ID.
func (r *Repository) ID() string { return "" }

// Seal seals.
func (r *Repository) Seal(plain []byte) []byte { return nil }

// Unseal opens what Seal sealed.
func (r *Repository) Unseal(sealed []byte) ([]byte, error) { return nil, errStub }

// Lock is a lock on a repository.
type Lock struct{}

// Lock takes a lock.
func (r *Repository) Lock(ctx context.Context, exclusive bool) (*Lock, error) { return nil, errStub }

// Lost is closed when the lock is lost.
func (l *Lock) Lost() <-chan struct{} { return nil }

// Close gives the lock back.
func (l *Lock) Close(ctx context.Context) error { return errStub }

// LoadIndex loads what is new in the index.
func (r *Repository) LoadIndex(ctx context.Context) error { return errStub }

// LoadBlob reads a blob.
func (r *Repository) LoadBlob(ctx context.Context, t Type, id ID) ([]byte, error) {
	return nil, errStub
}

// HasBlob reports whether the index has a blob.
func (r *Repository) HasBlob(t Type, id ID) bool { return false }

// BlobSize returns the size of a blob's content in bytes.
func (r *Repository) BlobSize(t Type, id ID) (int64, bool) { return 0, false }

// Writer saves blobs.
type Writer struct{}

// NewWriter returns a writer. The caller holds a lock, and closes the writer.
func (r *Repository) NewWriter() *Writer { return nil }

// Save saves a blob.
func (w *Writer) Save(ctx context.Context, t Type, data []byte) (id ID, added bool, err error) {
	return ID{}, false, errStub
}

// Flush makes everything saved durable.
func (w *Writer) Flush(ctx context.Context) error { return errStub }

// Close stops what is under way.
func (w *Writer) Close() error { return nil }

// SaveSnapshot saves a snapshot.
func (r *Repository) SaveSnapshot(ctx context.Context, s *Snapshot) (ID, error) {
	return ID{}, errStub
}

// Snapshots returns all snapshots.
func (r *Repository) Snapshots(ctx context.Context) ([]Snapshot, error) { return nil, errStub }

// RemoveSnapshot removes a snapshot.
func (r *Repository) RemoveSnapshot(ctx context.Context, id ID) error { return errStub }

// Key is a key of the repository.
type Key struct {
	ID         string
	Host, User string
	Created    time.Time
	Current    bool // the one that this repository was opened with
}

// Keys returns all keys.
func (r *Repository) Keys(ctx context.Context) ([]Key, error) { return nil, errStub }

// AddKey adds a key.
func (r *Repository) AddKey(ctx context.Context, password []byte, host Host) (Key, error) {
	return Key{}, errStub
}

// RemoveKey removes a key.
func (r *Repository) RemoveKey(ctx context.Context, id string) error { return errStub }

// ChangePassword replaces the key that the repository was opened with.
func (r *Repository) ChangePassword(ctx context.Context, password []byte, host Host) (Key, error) {
	return Key{}, errStub
}

// Progress is how far work has come.
type Progress struct {
	What        string // is being done
	Done, Total int64  // packs, or bytes
}

// Check checks the repository.
func (r *Repository) Check(ctx context.Context, readData bool, report func(Progress), problem func(error)) error {
	return errStub
}

// PrunePlan is what Prune will do.
type PrunePlan struct{}

// Lines returns the plan for people.
func (p *PrunePlan) Lines() []string { return nil }

// PlanPrune plans.
func (r *Repository) PlanPrune(ctx context.Context) (*PrunePlan, error) { return nil, errStub }

// Prune carries out a plan.
func (r *Repository) Prune(ctx context.Context, p *PrunePlan, report func(Progress)) error {
	return errStub
}
