package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ballast-io/ballast"
	"github.com/ballast-io/ballast/internal/archive"
	"github.com/ballast-io/ballast/internal/archive/repository"
)

// basePause is the time after a base snapshot that failed: what it stored is there, but
// it reads the volume anew.
const basePause = time.Minute

// baseJob is a base snapshot that somebody waits for.
type baseJob struct {
	tags   []string
	report func(archive.Progress)
	gone   <-chan struct{} // closed when nobody waits for it any more
	base   *archive.Base   // valid once done is closed
	err    error
	done   chan struct{}
}

// Snapshot takes a base snapshot and returns it. It is cancelled with ctx.
func (w *Shipping) Snapshot(ctx context.Context, tags []string, report func(archive.Progress)) (*archive.Base, error) {
	job := &baseJob{tags: tags, report: report, gone: ctx.Done(), done: make(chan struct{})}
	select {
	case w.jobs <- job:
	case <-w.done:
		return nil, errEnding
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the archive: %w", ctx.Err())
	}
	<-job.done // ends soon after ctx
	return job.base, job.err
}

// do runs a job beside the shipping.
func (w *Shipping) do(ctx context.Context, job *baseJob) {
	w.bases.Go(func() {
		defer close(job.done)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stop := make(chan struct{})
		defer close(stop)
		go func() { // ends with the job
			select {
			case <-job.gone:
				cancel()
			case <-stop:
			}
		}()
		select {
		case w.all.basing <- struct{}{}: // one at a time on a node: each reads a whole volume
			defer func() { <-w.all.basing }()
		case <-ctx.Done():
			job.err = fmt.Errorf("wait for another base snapshot to end: %w", ctx.Err())
			return
		}
		job.base, job.err = w.takeBase(ctx, job.tags, job.report)
	})
}

// baseIfDue begins a base snapshot when one is due.
func (w *Shipping) baseIfDue(ctx context.Context) {
	status, err := w.ask(ctx)
	if _, closed := w.all.vault.Get(); err != nil || closed != nil {
		return // looked at again soon
	}
	w.mu.Lock()
	facts := baseFacts{
		state: w.state, touched: status.Size, now: time.Now(), retryAt: w.retryAt,
		running: w.basing, hydrating: status.MissingChunks > 0,
	}
	if w.complete {
		facts.touched = w.touched.bytes()
	}
	w.mu.Unlock()
	reason := baseDue(facts)
	if reason == "" {
		return
	}
	select {
	case w.all.basing <- struct{}{}:
	default:
		return // another volume's is being taken
	}
	w.all.node.Log.Info("taking a base snapshot", "volume", w.volume.Name, "reason", reason)
	w.setBasing(true) // before anybody asks again
	w.bases.Go(func() {
		defer func() { <-w.all.basing }()
		if _, err := w.takeBase(ctx, nil, nil); err != nil && ctx.Err() == nil {
			w.all.node.Quiet.Warn("base "+string(w.volume.ID), "a base snapshot was not taken; it is tried again, and what was stored is not stored again", "volume", w.volume.Name, "error", err)
		}
	})
}

func (w *Shipping) setBasing(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.basing = is
}

// takeBase takes a base snapshot. The caller has the node's turn for one.
func (w *Shipping) takeBase(ctx context.Context, tags []string, report func(archive.Progress)) (_ *archive.Base, err error) {
	w.setBasing(true)
	before := w.beginBase()
	defer func() { w.endBase(ctx, before, err) }()
	o, err := w.all.vault.Get()
	if err != nil {
		return nil, err
	}
	rec, err := w.all.node.Records.ByID(w.volume.ID)
	if err != nil {
		return nil, err
	}
	parent, err := w.parent(ctx, o)
	if err != nil {
		return nil, err
	}
	var since ballast.LSN
	if parent != nil {
		since = parent.Point.LSN
	}
	source, err := w.engine.Snapshot(ctx, since)
	if err != nil {
		return nil, fmt.Errorf("begin a snapshot of the volume: %w", err)
	}
	defer source.Close() // only ends the reading
	start := time.Now()
	base, err := o.Archive.WriteBase(ctx, source, archive.Volume{Name: rec.Name, Spec: rec.Spec, Node: string(w.all.node.Name)}, parent, tags, report)
	if err != nil {
		return nil, err
	}
	w.tookBase(base, before)
	w.all.node.Log.Info("took a base snapshot", "volume", rec.Name, "snapshot", base.Snapshot.Short(), "lsn", uint64(base.Point.LSN), "added_bytes", base.Added, "seconds", time.Since(start).Seconds())
	return base, nil
}

// beforeBase is what a base snapshot makes superfluous.
type beforeBase struct {
	tailBytes   int64
	tailObjects int
	touched     chunkSet
	complete    bool
}

// beginBase starts to count anew what is shipped and changed.
func (w *Shipping) beginBase() beforeBase {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := beforeBase{w.state.TailBytes, w.state.TailObjects, w.touched, w.complete}
	w.touched, w.complete = chunkSet{}, true
	return before
}

func (w *Shipping) tookBase(base *archive.Base, before beforeBase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = w.state.withBase(base.Snapshot.String(), base.Point.LSN, base.Point.Time, before.tailBytes, before.tailObjects)
	w.dirty, w.alone = true, false
	w.all.node.Health.Clear(w.volume.ID, CondGap)
}

// endBase takes back what beginBase did, where nothing came of it. A parent that cannot
// be built upon is forgotten: the next one stands on its own.
func (w *Shipping) endBase(ctx context.Context, before beforeBase, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.basing = false
	if err == nil {
		return
	}
	w.touched.addAll(before.touched)
	w.complete = before.complete
	if ctx.Err() != nil {
		return // told to end, or nobody waits for it
	}
	w.retryAt = time.Now().Add(basePause)
	var damage *repository.DamageError
	if errors.As(err, &damage) || errors.Is(err, ballast.ErrInvalid) || errors.Is(err, ballast.ErrNotFound) {
		w.state.BaseID, w.alone = "", true
	}
}

// parent returns the base snapshot that the next one builds upon; nil: none.
func (w *Shipping) parent(ctx context.Context, o *Opened) (*archive.Base, error) {
	w.mu.Lock()
	id, alone, at := w.state.BaseID, w.alone, w.state.LSN
	w.mu.Unlock()
	if alone {
		return nil, nil //nolint:nilnil // no parent is not an error
	}
	if id == "" {
		return newestBase(ctx, o, w.volume.ID, at)
	}
	bases, err := o.Archive.Bases(ctx, w.volume.ID)
	if err != nil {
		return nil, err
	}
	for i := range bases {
		if bases[i].Snapshot.String() == id {
			return &bases[i], nil
		}
	}
	return newestBase(ctx, o, w.volume.ID, at)
}

// newestBase returns the newest base snapshot on the volume's line up to an LSN; nil: none. Those
// of a former writer that went another way are no ground to build upon.
func newestBase(ctx context.Context, o *Opened, id ballast.VolumeID, upTo ballast.LSN) (*archive.Base, error) {
	h, err := o.Archive.History(ctx, id)
	if errors.Is(err, ballast.ErrNotFound) {
		return nil, nil //nolint:nilnil // no parent is not an error
	}
	if err != nil {
		return nil, err
	}
	for i := len(h.Bases) - 1; i >= 0; i-- {
		if h.Bases[i].Point.LSN <= upTo {
			return &h.Bases[i], nil
		}
	}
	return nil, nil //nolint:nilnil // no parent is not an error
}
