package agent

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archiver"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/engine"
)

// slot is what a node has of one volume.
type slot struct {
	id   ballast.VolumeID
	dir  string        // of the volume, below the data folder
	lock chan struct{} // one token: who has it may change the attachment (A4)

	mu           sync.Mutex // guards everything below; never held across I/O (A5)
	taken        bool       // what the last agent left of it is taken over
	attached     *attachment
	rising       *attachment        // what is to be attached, once its engine runs: a session that begins meanwhile is confirmed
	state        attachmentState    // as on disk
	flight       *flight            // attaches that wait together
	failed       bool               // the engine died, and nobody attached since
	status       engine.Status      // latest answer of the engine
	silence      int                // looks in a row that the engine did not answer
	usedBytes    int64              // disk space of the volume's files, as last seen
	shipping     *archiver.Shipping // nil where the volume is not attached, or not archived
	lastArchived archiver.State     // of the last archiver
	arrival      arrival            // of what is fetched from the archive
	processing   string             // what the lock is held for: attaching, detaching, …
}

// attachment is a volume that is mounted on this node.
type attachment struct {
	record     cluster.Record // as of the claim
	engine     process
	deviceFile string
	loop       string
	mountpoint string
	partial    bool        // unmounting began and did not end; guarded by the slot's lock
	goesOver   bool        // another node attaches it next, and archives what is left; likewise
	tending    atomic.Bool // the engine runs for the copies alone; see tendCopies
	wanted     atomic.Bool // another node waits for the end of that
	told       told
}

func newSlot(id ballast.VolumeID, state attachmentState) *slot {
	s := &slot{id: id, dir: volumeDir(id), lock: make(chan struct{}, 1), state: state}
	s.lock <- struct{}{}
	return s
}

// acquire takes the slot's lock for what is to be done; the caller must release it.
func (s *slot) acquire(ctx context.Context, what string) error {
	select {
	case <-s.lock:
		s.setProcessing(what)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s of the volume to end: %w", s.doing(), ctx.Err())
	}
}

// tryAcquire is acquire that does not wait.
func (s *slot) tryAcquire(what string) bool {
	select {
	case <-s.lock:
		s.setProcessing(what)
		return true
	default:
		return false
	}
}

func (s *slot) release() {
	s.setProcessing("")
	s.lock <- struct{}{}
}

func (s *slot) setProcessing(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processing = what
}

func (s *slot) doing() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.processing == "" {
		return "another step"
	}
	return s.processing
}

// current returns the attachment, nil when there is none.
func (s *slot) current() *attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached
}

// toConfirm returns the attachment, or what is about to be it, whose engine waits for the word of
// a quorum when another session begins; nil when there is none.
func (s *slot) toConfirm() *attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached == nil {
		return s.rising
	}
	return s.attached
}

func (s *slot) setRising(a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rising = a
}

func (s *slot) setAttached(a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached, s.rising = a, nil
	s.status, s.silence = engine.Status{}, 0
	if a != nil {
		s.failed = false
	}
}

// archiver returns what archives the volume, nil when nothing does.
func (s *slot) archiver() *archiver.Shipping {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shipping
}

func (s *slot) setArchiver(w *archiver.Shipping) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shipping != nil {
		s.lastArchived = s.shipping.Progress().State
	}
	s.shipping = w
}

func (s *slot) remembered() attachmentState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// flight is the attaches of one volume that wait for the same outcome.
type flight struct {
	waiting   map[*waiter]struct{}
	closed    bool          // the outcome is decided: nobody joins or leaves
	abandoned chan struct{} // closed when the last one left
	done      chan struct{} // closed when the outcome is there

	mountpoint string // valid once done is closed
	err        error
}

type waiter struct{ holder string }

// join makes holder wait for an attach; first says that it must be begun.
func (s *slot) join(holder string) (f *flight, w *waiter, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil {
		s.flight = &flight{waiting: map[*waiter]struct{}{}, abandoned: make(chan struct{}), done: make(chan struct{})}
		first = true
	}
	w = &waiter{holder}
	s.flight.waiting[w] = struct{}{}
	return s.flight, w, first
}

// leave ends the waiting, unless the outcome is decided. When the last one
// leaves, the attach is taken back (A3), and who comes later begins another.
func (s *slot) leave(f *flight, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.closed {
		return false
	}
	delete(f.waiting, w)
	if len(f.waiting) == 0 {
		s.closeLocked(f)
		close(f.abandoned)
	}
	return true
}

// land decides the outcome and returns the holders that wait for it.
func (s *slot) land(f *flight) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(f)
	var holders []string
	for w := range f.waiting {
		holders = append(holders, w.holder)
	}
	return holders
}

func (s *slot) closeLocked(f *flight) {
	f.closed = true
	if s.flight == f {
		s.flight = nil
	}
}
