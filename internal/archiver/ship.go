package archiver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/delta"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	maxDelta    = 16 << 20       // bytes of data in an object of the tail
	maxRound    = 64             // objects between two looks at everything else
	stateEvery  = time.Minute    // between two writes of archive.json
	fencedPause = 24 * time.Hour // a writer that was followed ships nothing more
)

// Shipping archives one attached volume. It is one goroutine of its node; what others may
// see is guarded by mu.
type Shipping struct {
	all    *Writers
	volume Volume // as of the claim
	dir    string // of the volume, below the disk
	engine Engine

	asked chan chan error // to ship what is durable now
	jobs  chan *baseJob
	bases sync.WaitGroup // of run alone: base snapshots beside the shipping
	stop  context.CancelFunc
	done  chan struct{} // closed when run has ended

	tail *tail.Shipper // of run alone; nil until something is to be shipped

	mu       sync.Mutex // guards everything below; never held across I/O
	state    State
	saved    time.Time // when state was last written
	dirty    bool      // state is newer than its file
	failures int       // in a row
	since    time.Time // of the first of them
	err      error     // the last of them
	basing   bool      // a base snapshot is being taken
	retryAt  time.Time // no base snapshot before
	touched  chunkSet  // chunks that changed since the base snapshot
	complete bool      // touched has all of them
	alone    bool      // the next base snapshot has no parent
}

// Ended is closed when the shipping has ended, and uses its engine no more.
func (w *Shipping) Ended() <-chan struct{} { return w.done }

// Progress is how far a volume is archived, as its shipping knows.
type Progress struct {
	State  State
	Since  time.Time // archiving fails since then; zero: it does not
	Err    error     // the last failure
	Basing bool      // a base snapshot is being taken
}

// Progress returns how far the volume is archived. It waits for nothing.
func (w *Shipping) Progress() Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Progress{w.state, w.since, w.err, w.basing}
}

// End stops shipping, and reports whether it has ended within patience. Every call that it
// makes ends with its context, but for what gives locks back.
func (w *Shipping) End(patience time.Duration) bool {
	w.stop()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.done:
		return true
	case <-timer.C:
		return false
	}
}

// run ships what becomes durable until ctx ends. An idle volume costs a question to its
// engine, and none to the store.
func (w *Shipping) run(ctx context.Context) {
	defer close(w.done)
	defer w.saveAtEnd()
	defer w.bases.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			_ = w.turn(ctx) // noted
		case reply := <-w.asked:
			reply <- w.turn(ctx)
		case job := <-w.jobs:
			w.do(ctx, job)
			continue
		case <-ctx.Done():
			return
		}
		timer.Reset(w.pause())
	}
}

// Flush ships everything that is durable now, or returns why it could not, or ctx's error.
func (w *Shipping) Flush(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case w.asked <- reply:
	case <-w.done:
		return errEnding
	case <-ctx.Done():
		return fmt.Errorf("wait for the archive: %w", ctx.Err())
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the archive: %w", ctx.Err())
	}
}

// IsWell reports whether shipping is worth waiting for.
func (w *Shipping) IsWell() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.all.vault.Get()
	return w.failures == 0 && err == nil
}

func (w *Shipping) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.state.fenced():
		return fencedPause
	case w.failures > 0:
		return max(backoff(w.failures, rand.Float64()), 0)
	}
	return w.all.interval
}

// turn ships what there is and does what is due.
func (w *Shipping) turn(ctx context.Context) error {
	err := w.shipAll(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.note(ctx, err)
	w.saveNowAndThen()
	if err == nil {
		w.baseIfDue(ctx)
	}
	return err
}

// shipAll ships until nothing durable is left, within bounds: a writer may be faster.
func (w *Shipping) shipAll(ctx context.Context) error {
	if w.isFenced() {
		return errFenced
	}
	o, err := w.all.vault.Get()
	if err != nil {
		return w.unlessIdle(ctx, err)
	}
	w.check(o)
	for range maxRound {
		more, err := w.shipOne(ctx, o)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// unlessIdle returns err only if the volume has something that is not archived.
func (w *Shipping) unlessIdle(ctx context.Context, err error) error {
	status, asked := w.ask(ctx)
	if asked != nil || status.Durable <= w.position() {
		return asked
	}
	return err
}

func (w *Shipping) position() ballast.LSN {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.LSN
}

// check forgets what was archived elsewhere: the node may have been told of another
// archive since.
func (w *Shipping) check(o *Opened) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id := o.Repo.ID(); w.state.Repository != id {
		if w.state.Repository != "" {
			w.all.node.Log.Warn("the node has another archive than before; the volume's history begins anew there", "volume", w.volume.Name)
		}
		w.state, w.dirty = State{Repository: id}, true
	}
}

// shipOne ships one object; more says that there may be another.
func (w *Shipping) shipOne(ctx context.Context, o *Opened) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, shipBudget)
	defer cancel()
	d, err := w.engine.Changes(ctx, w.position(), maxDelta)
	recycled := errors.Is(err, volume.ErrRecycled)
	if err != nil && !recycled {
		return false, fmt.Errorf("%w what changed: %w", errEngineAsked, err)
	}
	switch {
	case err == nil && d == nil && w.tail != nil:
		return false, w.settle(ctx)
	case err == nil && d == nil:
		return false, nil
	case w.tail == nil:
		return true, w.resume(ctx, o) // what is archived may be more than is remembered
	case recycled:
		return true, w.skip(ctx)
	}
	return true, w.ship(ctx, d)
}

// ship stores d, and before it what begins its epoch.
func (w *Shipping) ship(ctx context.Context, d *delta.Delta) error {
	var err error
	if st := w.tail.State(); st.Epoch != d.Epoch || st.Nonce == "" {
		err = w.tail.OpenEpoch(ctx, w.all.openOf(w.volume, d.Epoch))
	}
	if err == nil {
		err = w.tail.Ship(ctx, d)
	}
	var lost *tail.LostError
	switch {
	case errors.Is(err, tail.ErrFenced):
		return w.fence(err)
	case errors.As(err, &lost):
		w.noteGap("the store lost what it had acknowledged")
	}
	if err != nil {
		return err
	}
	w.shipped(d)
	return w.acknowledge(ctx, d.Last())
}

// shipped notes that d is archived.
func (w *Shipping) shipped(d *delta.Delta) {
	var until time.Time
	for i := range d.Groups {
		if d.Groups[i].IsPoint() {
			until = d.Groups[i].Time
		}
	}
	w.all.node.Meters.Shipped(d.DataBytes())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = w.state.withShipment(d.Last(), until, d.DataBytes())
	w.touched.addDelta(d)
	w.dirty = true
}
