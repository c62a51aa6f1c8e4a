package receiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/volume"
)

var errClosed = errors.New("the receiver has ended")

// Receiver serves the streams of leaders elsewhere.
type Receiver struct {
	cfg   Config
	began time.Time // for monotonic times

	mu      sync.Mutex // guards everything below
	entries map[ballast.VolumeID]*entry
	closed  bool
}

// New returns a Receiver.
func New(cfg Config) *Receiver {
	return &Receiver{cfg: cfg.withDefaults(), began: time.Now(), entries: map[ballast.VolumeID]*entry{}}
}

// Run keeps house until ctx ends; then it ends the streams and closes the copies. It
// returns why one could not be closed well.
func (r *Receiver) Run(ctx context.Context) error {
	tick := time.NewTicker(max(r.cfg.Idle/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return r.end()
		case <-tick.C:
			for _, e := range r.list() {
				e.closeIfIdle()
			}
		}
	}
}

func (r *Receiver) end() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	var errs []error
	for _, e := range r.list() {
		e.endStream(errClosed)
		e.turn <- struct{}{} // a stream ends as soon as its disk answers
		errs = append(errs, e.close())
		<-e.turn
	}
	return errors.Join(errs...)
}

// list returns the entries, sorted by volume.
func (r *Receiver) list() []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*entry
	for _, e := range r.entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	return list
}

func (r *Receiver) entry(id ballast.VolumeID) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	e := r.entries[id]
	if e == nil {
		e = &entry{r: r, id: id, turn: make(chan struct{}, 1)}
		r.entries[id] = e
	}
	return e, nil
}

// Copies says where the copies stand that have been followed, sorted by volume.
func (r *Receiver) Copies() []CopyStatus {
	var all []CopyStatus
	for _, e := range r.list() {
		if s, ok := e.report(); ok {
			all = append(all, s)
		}
	}
	return all
}

// Take prepares this node for leading a volume under epoch: its stream has ended and its
// copy is closed when Take returns nil, and no stream of that epoch or a lower one is served any
// more. The error is [volume.ErrStaleEpoch] when a higher one was heard of.
func (r *Receiver) Take(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) error {
	e, err := r.entry(id)
	if err == nil {
		err = e.enter(ctx, epoch, nil)
	}
	if err != nil {
		return fmt.Errorf("take copy of volume %s from its stream: %w", id, err)
	}
	defer e.leave()
	e.r.mu.Lock()
	e.taken = max(e.taken, epoch)
	e.r.mu.Unlock()
	if err := e.close(); err != nil {
		return fmt.Errorf("take copy of volume %s from its stream: %w", id, err)
	}
	return nil
}

// Drop ends the stream of a volume, closes its copy, and calls remove, which may delete the
// files: until it has returned nobody streams to the copy, or opens it. So a copy
// that remove finds to be unwanted does not come to count again meanwhile. Later streams are
// served as [Config.Allow] says.
func (r *Receiver) Drop(ctx context.Context, id ballast.VolumeID, remove func() error) error {
	e, err := r.entry(id)
	if err == nil {
		err = e.enter(ctx, 0, nil)
	}
	if err != nil {
		return fmt.Errorf("drop copy of volume %s: %w", id, err)
	}
	defer e.leave()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.closeLocked(); err != nil {
		return fmt.Errorf("drop copy of volume %s: %w", id, err)
	}
	if err := remove(); err != nil {
		return err
	}
	e.r.mu.Lock()
	defer e.r.mu.Unlock()
	e.state, e.counted = volume.FollowerState{}, false
	return nil
}

// Prepare makes the copy here what a leader elsewhere goes on from that has no bytes of its own: it
// stores the epoch, and says where it ends. All it has is part of the history from then on.
func (r *Receiver) Prepare(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) (Point, error) {
	p, err := r.prepare(ctx, id, epoch)
	if err != nil {
		return Point{}, fmt.Errorf("prepare copy of volume %s for %v: %w", id, epoch, err)
	}
	return p, nil
}

func (r *Receiver) prepare(ctx context.Context, id ballast.VolumeID, epoch ballast.Epoch) (p Point, err error) {
	e, err := r.entry(id)
	if err != nil {
		return p, err
	}
	if err := e.enter(ctx, epoch, nil); err != nil {
		return p, err
	}
	defer e.leave()
	err = e.useAlone(ctx, 0, func(c Copy) (err error) {
		p, err = goOnFrom(c, epoch)
		return err
	})
	return p, err
}

// goOnFrom stores the epoch in a copy, with all that the copy has before it. What of that is committed
// the leader says in its stream, once the other copies have it (R5).
func goOnFrom(c Copy, epoch ballast.Epoch) (Point, error) {
	if s := c.State(); !s.Complete {
		return Point{}, fmt.Errorf("%w: the copy is not whole", ballast.ErrNotReady)
	}
	if s := c.State(); wroteUnder(s, epoch) {
		return Point{}, fmt.Errorf("%w: the writer of %v has gone on from it already, and it has records of that one", ballast.ErrInUse, epoch)
	}
	if _, err := c.Sync(); err != nil {
		return Point{}, err
	}
	s := c.State()
	lineage := s.Lineage.Next(epoch, s.Last+1)
	if seeded(prepareUnfenced) {
		return Point{LSN: s.Last, Size: s.Size, Lineage: lineage}, nil
	}
	if err := c.Follow(epoch, lineage, s.Last); err != nil {
		return Point{}, err
	}
	return Point{LSN: s.Last, Size: s.Size, Lineage: lineage}, nil
}

// wroteUnder reports whether a copy has records of an epoch: what was asked for under it is
// then asked again too late.
func wroteUnder(s volume.FollowerState, epoch ballast.Epoch) bool {
	n := len(s.Lineage)
	return n > 0 && s.Lineage[n-1].Epoch == epoch && s.Lineage[n-1].From <= s.Last
}

// Chunk reads a chunk of the copy here into p, for the leader that began there. The error is
// [ballast.ErrNotFound] where no copy is, and [ballast.ErrNotReady] while the copy does not
// follow that leader: what it can show then may lack records that were acknowledged under the
// one before. Nor does a copy that was prepared for that leader, which then went on from
// another one: their ends differ, or how they came there.
func (r *Receiver) Chunk(ctx context.Context, id ballast.VolumeID, leader volume.Beginning, chunk int, p []byte) error {
	e, err := r.entry(id)
	if err == nil {
		err = e.use(ctx, 0, func(c Copy) error {
			if at := c.State().Lineage.Beginning(); at != leader {
				return fmt.Errorf("%w: the copy follows %v, and %v asks", ballast.ErrNotReady, at, leader)
			}
			return c.ReadChunk(ctx, chunk, p)
		})
	}
	if err != nil {
		return fmt.Errorf("read chunk %d of the copy of volume %s: %w", chunk, id, err)
	}
	return nil
}

// now is monotonic.
func (r *Receiver) now() time.Duration { return time.Since(r.began) }
