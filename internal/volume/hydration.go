package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ballast-io/ballast"
)

// Source is where chunks come from that are not in the image yet. It is safe
// for concurrent use.
type Source interface {
	// Fetch fills p, which is one chunk long, with a chunk's bytes as they were
	// when the volume was made, verified, or fails. It returns when ctx ends. An error that wraps
	// [ballast.ErrNotFound] says that asking again is of no use.
	Fetch(ctx context.Context, chunk int, p []byte) error
}

// ErrMissing says that a chunk's bytes are not on this disk yet, and could not
// be fetched. Nothing is lost: it can be asked for again.
var ErrMissing = errors.New("chunk is not on this disk yet")

// errNoSource says that asking again is of no use.
var errNoSource = errors.New("there is no archive to fetch it from")

// lackError says which chunks must be fetched before a call can go on.
type lackError struct{ chunks []int }

func (e *lackError) Error() string {
	return fmt.Sprintf("%d chunks must be fetched first", len(e.chunks))
}

// flight is one attempt to fetch a chunk, which whoever needs it waits for.
type flight struct {
	chunk int
	done  chan struct{} // closed when the attempt is over
	err   error         // constant from then on
}

// hydration is what a volume knows of the chunks that its image does not have
// yet. A chunk is missing until its bytes are in the image, then arrived until
// the table on disk says so, which is after a sync (V8).
type hydration struct {
	source Source
	left   atomic.Int64 // missing chunks; while it is 0 there is nothing to look at

	// installing is held by whoever puts a missing chunk's bytes into the image,
	// or declares it covered: what was fetched must not overwrite what is newer.
	installing sync.Mutex

	mu         sync.Mutex // guards everything below
	missing    bitset
	covered    []int // wholly overwritten by the generation that is being folded
	arrived    []int
	flights    map[int]*flight
	foreground int // callers that wait
	background pace
	failing    time.Time // fetching has failed since then; zero: it works
	failure    error
	told       chan struct{} // holds one; for who hydrates
	settle     chan struct{} // holds one; for who keeps what arrived
}

// init takes over what the table says.
func (h *hydration) init(c *chunks, opts Options) {
	h.source = opts.Source
	h.flights = map[int]*flight{}
	h.background = pace{rate: opts.HydrateRate}
	h.told, h.settle = make(chan struct{}, 1), make(chan struct{}, 1)
	h.refill(c)
}

// refill takes over what the table says of a copy that was brought to another point.
func (h *hydration) refill(c *chunks) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.missing, h.covered, h.arrived = newBitset(len(c.table)), nil, nil
	left := 0
	for i, entry := range c.table {
		if entry&presentBit == 0 {
			h.missing.add(i)
			left++
		}
	}
	h.left.Store(int64(left))
}

// lacking returns the missing chunks among those that blocks of x are in.
func (h *hydration) lacking(found []int, x extent) []int {
	if x.first >= x.end || h.left.Load() == 0 {
		return found
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last := int((x.end - 1) / blocksPerChunk)
	for c := h.missing.next(int(x.first / blocksPerChunk)); c >= 0 && c <= last; c = h.missing.next(c + 1) {
		if !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

// arrivals returns the chunks whose bytes are in the image, and whose entries in
// the table do not say so yet. Only a sync that begins later makes them durable.
func (h *hydration) arrivals() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.arrived)
}

// settled forgets the first n arrivals: the table has them.
func (h *hydration) settled(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.arrived = slices.Delete(h.arrived, 0, n)
}

// board returns the flight to wait for, and whether it is the caller's to make;
// nil when the chunk is here.
func (h *hydration) board(chunk int) (f *flight, mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.missing.has(chunk) {
		return nil, false
	}
	if f := h.flights[chunk]; f != nil {
		return f, false
	}
	return h.depart(chunk), true
}

// depart begins a flight. The caller holds mu.
func (h *hydration) depart(chunk int) *flight {
	f := &flight{chunk: chunk, done: make(chan struct{})}
	h.flights[chunk] = f
	return f
}

// land ends a flight and tells those who wait for it.
func (h *hydration) land(f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.flights, f.chunk)
	close(f.done)
}

// arrive notes that a chunk's bytes are in the image. The caller holds installing.
func (h *hydration) arrive(chunk int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.missing.remove(chunk)
	h.arrived = append(h.arrived, chunk)
	if h.left.Add(-1) == 0 || len(h.arrived) >= settleAfter {
		tell(h.settle)
	}
}

func (h *hydration) isMissing(chunk int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.missing.has(chunk)
}

// note remembers how the last attempt went. It reports whether that is news.
func (h *hydration) note(err error) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	news = (err == nil) != (h.failure == nil)
	h.failure = err
	switch {
	case err == nil:
		h.failing = time.Time{}
	case h.failing.IsZero():
		h.failing = time.Now()
	}
	return news
}

func (h *hydration) state() (failing time.Time, failure error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failing, h.failure
}

// tell lets somebody look who looks once however often he is told.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func chunkOf(off int64) int { return int(off / ballast.ChunkSize) }
