package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive/tail"
	"github.com/ballast-io/ballast/internal/cluster"
	"github.com/ballast-io/ballast/internal/delta"
	"github.com/ballast-io/ballast/internal/engine"
	"github.com/ballast-io/ballast/internal/volume"
)

const (
	maxDelta    = 16 << 20       // bytes of data in an object of the tail
	maxRound    = 64             // objects between two looks at everything else
	stateEvery  = time.Minute    // between two writes of archive.json
	fencedPause = 24 * time.Hour // a writer that was followed ships nothing more
)

// shipping archives one attached volume. Run is one goroutine; what others may see
// is guarded by mu.
type shipping struct {
	n      *node
	s      *slot
	record cluster.Record // as of the claim
	engine process

	asked chan chan error // to ship what is durable now
	jobs  chan *baseJob
	bases sync.WaitGroup // of run alone: base snapshots beside the shipping
	stop  context.CancelFunc
	done  chan struct{} // closed when run has ended

	tail *tail.Shipper // of run alone; nil until something is to be shipped

	mu       sync.Mutex // guards everything below; never held across I/O
	state    archiveState
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

// startShipping begins to archive a volume that was attached, where it is to be.
func (n *node) startShipping(s *slot, a *attachment) {
	if !n.cfg.archives() || !isArchived(a.record.Spec.Class) || s.archiver() != nil {
		return
	}
	w := &shipping{n: n, s: s, record: a.record, engine: a.engine, asked: make(chan chan error), jobs: make(chan *baseJob), done: make(chan struct{})}
	state, err := loadArchiveState(n.disk, s.dir)
	if err == nil { // said when the volume was taken over
		w.state = state
	}
	begun := make(chan struct{})
	if n.do(func(ctx context.Context) {
		ctx, w.stop = context.WithCancel(ctx)
		close(begun)
		w.run(ctx)
	}) {
		<-begun
		s.setArchiver(w)
	}
}

// end stops shipping, and reports whether it has ended within patience. Every call that it
// makes ends with its context, but for what gives locks back.
func (w *shipping) end(patience time.Duration) bool {
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
func (w *shipping) run(ctx context.Context) {
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

// flush ships everything that is durable now, or returns why it could not, or ctx's error.
func (w *shipping) flush(ctx context.Context) error {
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

// isWell reports whether shipping is worth waiting for.
func (w *shipping) isWell() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.n.vault.get()
	return w.failures == 0 && err == nil
}

func (w *shipping) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.state.fenced():
		return fencedPause
	case w.failures > 0:
		return max(backoff(w.failures, rand.Float64()), 0)
	}
	return w.n.cfg.ArchiveInterval
}

// turn ships what there is and does what is due.
func (w *shipping) turn(ctx context.Context) error {
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
func (w *shipping) shipAll(ctx context.Context) error {
	if w.isFenced() {
		return errFenced
	}
	o, err := w.n.vault.get()
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
func (w *shipping) unlessIdle(ctx context.Context, err error) error {
	status, asked := w.ask(ctx)
	if asked != nil || status.Durable <= w.position() {
		return asked
	}
	return err
}

func (w *shipping) ask(ctx context.Context) (engine.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	status, err := w.engine.Status(ctx)
	if err != nil {
		err = fmt.Errorf("%w how it is: %w", errEngineAsked, err)
	}
	return status, err
}

// acknowledge tells the engine what is archived.
func (w *shipping) acknowledge(ctx context.Context, lsn ballast.LSN) error {
	if err := w.engine.Archived(ctx, lsn); err != nil {
		return fmt.Errorf("%w to take note: %w", errEngineAsked, err)
	}
	return nil
}

// errEngineAsked begins an error that is no fault of the archive.
var errEngineAsked = errors.New("ask the engine")

func (w *shipping) position() ballast.LSN {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.LSN
}

// check forgets what was archived elsewhere: the node may have been told of another
// archive since.
func (w *shipping) check(o *opened) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id := o.repo.ID(); w.state.Repository != id {
		if w.state.Repository != "" {
			w.n.log.Warn("the node has another archive than before; the volume's history begins anew there", "volume", w.record.Name)
		}
		w.state, w.dirty = archiveState{Repository: id}, true
	}
}

// shipOne ships one object; more says that there may be another.
func (w *shipping) shipOne(ctx context.Context, o *opened) (more bool, err error) {
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

// settle does what an error or a crash left of the last shipment: the archive has the records, but
// its head may not say so. Nothing newer need ever come that would do it.
func (w *shipping) settle(ctx context.Context) error {
	err := w.tail.Settle(ctx)
	if errors.Is(err, tail.ErrFenced) {
		return w.fence(err)
	}
	return err
}

// ship stores d, and before it what begins its epoch.
func (w *shipping) ship(ctx context.Context, d *delta.Delta) error {
	var err error
	if st := w.tail.State(); st.Epoch != d.Epoch || st.Nonce == "" {
		err = w.tail.OpenEpoch(ctx, w.n.openOf(w.s.id, d.Epoch, w.record))
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

// openOf returns what begins an epoch of a volume.
func (n *node) openOf(id ballast.VolumeID, epoch ballast.Epoch, rec cluster.Record) tail.Open {
	if now, err := n.records.ByID(id); err == nil {
		rec = now
	}
	open := tail.Open{Epoch: epoch, Name: rec.Name, Spec: rec.Spec, Node: n.cfg.Node, Time: time.Now().UTC()}
	if o := rec.Origin; o != nil {
		open.Origin = &tail.Origin{Volume: o.Volume, Snapshot: o.Snapshot, Point: tail.Point{Time: o.Time, LSN: o.LSN, Epoch: o.Epoch, Size: o.Size}}
	}
	return open
}

// resume takes up the tail where it was left, by what is remembered or, without that, by
// what the archive has.
func (w *shipping) resume(ctx context.Context, o *opened) error {
	owner, err := w.n.ownerOf(w.s.dir)
	if err != nil {
		return err
	}
	w.mu.Lock()
	saved := w.state.Tail
	w.mu.Unlock()
	writer, err := tail.Resume(ctx, tail.Config{Store: o.store, Sealer: o.archive.Tail(), Volume: w.s.id, Save: w.saveTail, Owner: owner}, saved)
	if err != nil {
		return err
	}
	w.tail = writer
	last := writer.State().Last
	w.mu.Lock()
	w.state.LSN = max(w.state.LSN, last)
	w.mu.Unlock()
	return w.acknowledge(ctx, last)
}

// saveTail remembers where the tail is. What decides who may continue it is on disk before
// anything of it is in the store; the rest is written now and then.
func (w *shipping) saveTail(state tail.State) error {
	w.mu.Lock()
	old := w.state.Tail
	w.state.Tail, w.dirty = &state, true
	w.mu.Unlock()
	if old != nil && old.Epoch == state.Epoch && old.Nonce == state.Nonce && old.Next == state.Next && old.Fenced == state.Fenced {
		return nil
	}
	return w.save()
}

// skip goes on behind the records that the log no longer has.
func (w *shipping) skip(ctx context.Context) error {
	status, err := w.ask(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	known := w.state.LSN
	w.state.LSN = max(known, status.Recycled)
	w.mu.Unlock()
	if status.Recycled <= known {
		return fmt.Errorf("%w for the records behind LSN %d: they are neither there nor gone", errEngineAsked, known)
	}
	w.noteGap("the archive was away for longer than the log could wait")
	return nil
}

// noteGap says that until the next base snapshot nothing newer can be restored.
func (w *shipping) noteGap(why string) {
	w.mu.Lock()
	from, had := w.state.Until, w.state.HasBase || w.state.TailObjects > 0
	if had {
		w.state, w.dirty = w.state.withGap(from), true
	}
	w.mu.Unlock()
	if !had {
		return // nothing of the volume was archived before: its history begins with a base snapshot
	}
	w.n.log.Error("the volume's history has a gap until the next base snapshot", "volume", w.record.Name, "from", from, "reason", why)
	w.n.health.raise(w.s.id, condGap, fmt.Sprintf("Volume %q cannot be restored to moments after %s until a base snapshot is taken: %s. The volume itself has lost nothing.", w.record.Name, from.UTC().Format(time.RFC3339), why),
		"nothing: a base snapshot is taken as soon as the archive answers")
}

// shipped notes that d is archived.
func (w *shipping) shipped(d *delta.Delta) {
	var until time.Time
	for i := range d.Groups {
		if d.Groups[i].IsPoint() {
			until = d.Groups[i].Time
		}
	}
	w.n.meters.shippedBytes.Add(float64(d.DataBytes()))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = w.state.withShipment(d.Last(), until, d.DataBytes())
	w.touched.addDelta(d)
	w.dirty = true
}

var errFenced = errors.New("somebody else has continued the volume's history")

func (w *shipping) isFenced() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.fenced() {
		w.raiseFenced()
	}
	return w.state.fenced()
}

// fence ends shipping for good: the tail has remembered that.
func (w *shipping) fence(err error) error {
	w.n.log.Error("somebody else has continued the volume's history in the archive; nothing more is archived from here", "volume", w.record.Name, "error", err)
	w.raiseFenced()
	return fmt.Errorf("%w: %w", errFenced, err)
}

func (w *shipping) raiseFenced() {
	w.n.health.raise(w.s.id, condFenced, fmt.Sprintf("Volume %q is not archived any more: another machine recovered it and continues its history. What is written here is on this machine alone.", w.record.Name),
		fmt.Sprintf("decide which copy is the right one. If it is the other: stop what uses this one and `ballast volume rm %s`", w.record.Name))
}
